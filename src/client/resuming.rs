//! The messages of a report, over as many streams as it takes: where one is cut, another one goes on behind the last
//! record that is here.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::{Client, ClientError, from_proto::malformed};
use crate::proto;

/// The first pause before another try; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The messages of a report.
pub(super) struct ResumingStream {
    client: Client,
    request: proto::GetDetailedUsageRequest,
    stream: Streaming<Bytes>,
    /// The message that the header came in, until it is asked for.
    first: Option<Bytes>,
    header: proto::ReportHeader,
    /// How many records are here.
    received: u64,
    backoff: Backoff,
}

/// Pauses between tries.
#[derive(Debug)]
struct Backoff {
    /// How long to go on trying without a message.
    limit: Duration,
    since: Option<Instant>,
    tries: u32,
}

// === impl ResumingStream ===

impl ResumingStream {
    /// Asks for a report, from the start or from where a token says, with so many records before it.
    pub(super) async fn start(
        client: Client,
        request: proto::GetDetailedUsageRequest,
        received: u64,
    ) -> Result<Self, ClientError> {
        let mut backoff = Backoff { limit: client.retry_for, since: None, tries: 0 };
        loop {
            match open(&client, &request).await {
                Ok((stream, first, header)) => {
                    check_position(&header, received)?;
                    return Ok(Self { client, request, stream, first: Some(first), header, received, backoff });
                }
                // Where nothing is here yet that would be lost, only a server that asks for another try gets one.
                Err(Failure::Status(status))
                    if status.get_details_retry_info().is_some() || (received > 0 && is_transient(&status)) =>
                {
                    let error = ClientError::from_status(&client.server, &status);
                    let Some(pause) = backoff.pause(&status) else { return Err(error) };
                    tracing::warn!("{error}; trying again in {pause:.1?}");
                    tokio::time::sleep(pause).await;
                }
                Err(failure) => return Err(failure.into_error(&client.server)),
            }
        }
    }

    /// What the report is about.
    pub(super) fn header(&self) -> &proto::ReportHeader {
        &self.header
    }

    /// How many records are here.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The token that the report can be resumed by; empty: from the start.
    pub(super) fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    /// The next message. There is one until the summary has come, so it is not to be called after that.
    pub(super) async fn next(&mut self) -> Result<Bytes, ClientError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            let cause = match self.stream.message().await {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => None,
                Err(status) => Some(status),
            };
            if let Some(first) = self.resume(cause).await? {
                return Ok(first);
            }
        }
    }

    /// Takes note of records that came with a message, and of its token.
    pub(super) fn took(&mut self, records: u64, token: &[u8]) -> Result<(), ClientError> {
        self.received += records;
        if records > 0 {
            self.backoff.reset();
        }
        if !token.is_empty() {
            let token = std::str::from_utf8(token).map_err(|error| malformed("resume_token", error.to_string()))?;
            token.clone_into(&mut self.request.resume_token);
        }
        Ok(())
    }

    /// Opens another stream where the last one was cut. `None` as the cause: it ended as if it were whole.
    async fn resume(&mut self, cause: Option<Status>) -> Result<Option<Bytes>, ClientError> {
        let cut = Status::unavailable("the stream ended before its summary");
        let mut cause = cause.unwrap_or_else(|| cut.clone());
        loop {
            let pause = if is_transient(&cause) { self.backoff.pause(&cause) } else { None };
            let Some(pause) = pause else {
                return Err(if cause.message() == cut.message() {
                    self.incomplete()
                } else {
                    ClientError::from_status(&self.client.server, &cause)
                });
            };
            tracing::warn!(
                "{}; {} of {} records are here, asking for the others in {pause:.1?}",
                cause.message(),
                self.received,
                self.header.record_count
            );
            tokio::time::sleep(pause).await;
            match open(&self.client, &self.request).await {
                Ok((stream, first, header)) => {
                    if self.received > 0 && header.revision != self.header.revision {
                        return Err(ClientError::CannotResume("the server has another revision now".to_owned()));
                    }
                    check_position(&header, self.received)?;
                    (self.stream, self.header) = (stream, header);
                    return Ok(Some(first));
                }
                Err(Failure::Status(status)) => cause = status,
                Err(failure) => return Err(failure.into_error(&self.client.server)),
            }
        }
    }

    fn incomplete(&self) -> ClientError {
        ClientError::Incomplete { received: self.received, expected: self.header.record_count.cast_unsigned() }
    }
}

/// Why no stream could be opened.
enum Failure {
    Status(Status),
    Other(ClientError),
}

impl Failure {
    fn into_error(self, server: &str) -> ClientError {
        match self {
            Self::Status(status) => ClientError::from_status(server, &status),
            Self::Other(error) => error,
        }
    }
}

/// A stream, its first message, and the header in it.
async fn open(
    client: &Client,
    request: &proto::GetDetailedUsageRequest,
) -> Result<(Streaming<Bytes>, Bytes, proto::ReportHeader), Failure> {
    let mut stream = client.usage_stream(request.clone()).await.map_err(Failure::Status)?;
    let first = stream.message().await.map_err(Failure::Status)?;
    let first = first.ok_or_else(|| Failure::Status(Status::unavailable("the stream ended before it began")))?;
    let message = proto::GetDetailedUsageResponse::decode(first.clone());
    let message = message.map_err(|error| Failure::Other(malformed("message", error.to_string())))?;
    let header =
        message.header.ok_or_else(|| Failure::Other(ClientError::Malformed("first message: no header".to_owned())))?;
    Ok((stream, first, header))
}

fn check_position(header: &proto::ReportHeader, received: u64) -> Result<(), ClientError> {
    let resumed = header.resumed_record_count.cast_unsigned();
    if resumed == received {
        return Ok(());
    }
    Err(ClientError::CannotResume(format!("the server goes on after {resumed} records, and {received} are here")))
}

/// Whether another try may do better: the way there failed, or the server says that it cannot just now.
fn is_transient(status: &Status) -> bool {
    let ours = status.get_details_error_info().is_some();
    match status.code() {
        Code::Unavailable => true,
        // The places of streams that were lost are free again when the server has noticed.
        Code::ResourceExhausted => status.get_details_error_info().is_some_and(|info| info.reason == "CALLER_LIMIT"),
        // What comes without a reason is of the transport, or of a proxy.
        Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => !ours,
        _ => false,
    }
}

// === impl Backoff ===

impl Backoff {
    /// How long to wait before the next try; `None`: it has taken too long.
    fn pause(&mut self, status: &Status) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let longest = FIRST_PAUSE.saturating_mul(1 << self.tries.min(16)).min(LONGEST_PAUSE);
        self.tries += 1;
        // Many clients lose one server at once, and are not to come back all at once.
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        let pause = pause.max(asked);
        (since.elapsed() + pause <= self.limit).then_some(pause)
    }

    fn reset(&mut self) {
        self.since = None;
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        let ours = |code| {
            Status::with_error_details(code, "", ErrorDetails::with_error_info("REASON", "secureconnect.reports", []))
        };
        let transport = |code| Status::new(code, "");
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled] {
            assert!(is_transient(&transport(code)), "{code:?}");
            assert_eq!(is_transient(&ours(code)), code == Code::Unavailable, "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::NotFound, Code::InvalidArgument, Code::ResourceExhausted] {
            assert!(!is_transient(&transport(code)) && !is_transient(&ours(code)), "{code:?}");
        }
    }

    #[test]
    fn pauses_grow_and_end_and_are_as_long_as_the_server_says() {
        let mut backoff = Backoff { limit: Duration::from_secs(60), since: None, tries: 0 };
        let lost = Status::unavailable("");
        for expected in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            let pause = backoff.pause(&lost).expect("within the limit").as_millis();
            assert!((expected / 2..=expected).contains(&pause), "{pause} of {expected}");
        }
        let asked = ErrorDetails::with_retry_info(Some(Duration::from_secs(20)));
        let asked = Status::with_error_details(Code::Unavailable, "", asked);
        assert_eq!(backoff.pause(&asked), Some(Duration::from_secs(20)));
        backoff.since = Instant::now().checked_sub(Duration::from_secs(50));
        assert_eq!(backoff.pause(&asked), None, "that would be past the limit");
        backoff.reset();
        assert!(backoff.pause(&lost).is_some_and(|pause| pause <= FIRST_PAUSE));
    }
}
