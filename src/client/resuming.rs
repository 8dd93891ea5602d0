//! The messages of a report, over as many streams as it takes: where one is cut, another one goes on behind the last
//! record that is here.

use bytes::Bytes;
use prost::Message as _;
use tonic::{Status, Streaming};

use super::{
    Client, ClientError,
    retry::{Backoff, RETRYING, requested_delay},
};
use crate::contract::proto;

const CALL: &str = "GetDetailedUsage";

pub(super) struct ResumingStream {
    client: Client,
    request: proto::GetDetailedUsageRequest,
    stream: Streaming<Bytes>,
    /// The message with the header, until [`next`](Self::next) returns it.
    first: Option<Bytes>,
    header: proto::ReportHeader,
    /// How many records were received.
    received: u64,
    backoff: Backoff,
}

// === impl ResumingStream ===

impl ResumingStream {
    /// Requests a report, from the start or from the position of a resume token, with `received` records before it.
    pub(super) async fn start(
        client: Client,
        request: proto::GetDetailedUsageRequest,
        received: u64,
    ) -> Result<Self, ClientError> {
        let mut backoff = Backoff::new(client.retry_for);
        loop {
            match open(&client, &request).await {
                Ok((stream, first, header)) => {
                    check_position(&header, received)?;
                    return Ok(Self { client, request, stream, first: Some(first), header, received, backoff });
                }
                Err(Failure::Status(status)) => {
                    let error = ClientError::from_status(&client.server, CALL, &status);
                    backoff.wait(error, requested_delay(&status), RETRYING).await?;
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
    }

    /// What the report is about.
    pub(super) fn header(&self) -> &proto::ReportHeader {
        &self.header
    }

    /// How many records were received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The token to resume the report; empty: from the start.
    pub(super) fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    /// The next message. Must not be called after the summary.
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

    /// Records the progress of a message: its number of records and its resume token.
    pub(super) fn record_progress(&mut self, records: u64, token: &[u8]) -> Result<(), ClientError> {
        self.received += records;
        if records > 0 {
            self.backoff.reset();
        }
        if !token.is_empty() {
            let token = std::str::from_utf8(token)
                .map_err(|error| ClientError::malformed("resume_token", error.to_string()))?;
            token.clone_into(&mut self.request.resume_token);
        }
        Ok(())
    }

    /// Opens another stream after the last one was cut. Without a `cause`, it ended without a summary.
    async fn resume(&mut self, cause: Option<Status>) -> Result<Option<Bytes>, ClientError> {
        let cut = Status::unavailable("the stream ended before its summary");
        let mut cause = cause.unwrap_or_else(|| cut.clone());
        loop {
            let error = ClientError::from_status(&self.client.server, CALL, &cause);
            let next = format!("{} of {} records were received, resuming", self.received, self.header.record_count);
            if let Err(error) = self.backoff.wait(error, requested_delay(&cause), &next).await {
                return Err(if cause.message() == cut.message() { self.incomplete() } else { error });
            }
            match open(&self.client, &self.request).await {
                Ok((stream, first, header)) => {
                    if self.received > 0 && header.revision != self.header.revision {
                        return Err(ClientError::CannotResume("the report has another revision now".to_owned()));
                    }
                    check_position(&header, self.received)?;
                    (self.stream, self.header) = (stream, header);
                    return Ok(Some(first));
                }
                Err(Failure::Status(status)) => cause = status,
                Err(Failure::Other(error)) => return Err(error),
            }
        }
    }

    fn incomplete(&self) -> ClientError {
        ClientError::Incomplete { received: self.received, expected: self.header.record_count.cast_unsigned() }
    }
}

enum Failure {
    Status(Status),
    Other(ClientError),
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
    let message = message.map_err(|error| Failure::Other(ClientError::malformed("message", error.to_string())))?;
    let header =
        message.header.ok_or_else(|| Failure::Other(ClientError::Malformed("first message: no header".to_owned())))?;
    Ok((stream, first, header))
}

fn check_position(header: &proto::ReportHeader, received: u64) -> Result<(), ClientError> {
    let resumed = header.resumed_record_count.cast_unsigned();
    if resumed == received {
        return Ok(());
    }
    Err(ClientError::CannotResume(format!("the server resumes after {resumed} records, but {received} were received")))
}
