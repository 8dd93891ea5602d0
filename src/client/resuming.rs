//! The messages of a report, over as many streams as it takes: where one is cut, another one goes on behind the last
//! record that is here.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Status, Streaming};

use super::{
    Client, ClientError, UsageQuery,
    report_check::{RecordCheck, check_header},
    report_message::{Encoded, ReportMessage},
    retry::{Backoff, RETRYING, requested_delay},
};
use crate::{contract::proto, model::OrganizationId};

const CALL: &str = "GetDetailedUsage";
/// How long to wait for the end of a stream after its summary.
pub(super) const END_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct ResumingStream {
    client: Client,
    query: UsageQuery,
    request: proto::GetDetailedUsageRequest,
    stream: Streaming<Bytes>,
    /// The message with the header, until [`next`](Self::next) reads it.
    first: Option<Bytes>,
    header: proto::ReportHeader,
    organization_id: OrganizationId,
    /// How many records were received.
    received: u64,
    backoff: Backoff,
}

/// What a message was.
pub(super) enum Received {
    Records(u64),
    /// The last one, with the number of its records.
    Summary(u64, proto::ReportSummary),
}

/// A stream, its first message, and the header in it.
type Opened = (Streaming<Bytes>, Bytes, proto::ReportHeader);

// === impl ResumingStream ===

impl ResumingStream {
    /// Requests a report, from the start or from the position of a resume token, with `received` records before it.
    pub(super) async fn start(
        client: Client,
        query: &UsageQuery,
        resume_token: String,
        received: u64,
    ) -> Result<Self, ClientError> {
        let request = proto::GetDetailedUsageRequest { resume_token, packed: true, ..query.to_request() };
        let mut backoff = Backoff::new(client.retry_for);
        loop {
            match backoff.call(open(&client, &request)).await {
                Ok(opened) => {
                    let (stream, first, header) = opened?;
                    let organization_id = check_header(&header, query)?;
                    check_position(&header, received)?;
                    let (query, first) = (query.clone(), Some(first));
                    return Ok(Self {
                        client,
                        query,
                        request,
                        stream,
                        first,
                        header,
                        organization_id,
                        received,
                        backoff,
                    });
                }
                Err(status) => {
                    let error = ClientError::from_status(&client.server, CALL, &status);
                    backoff.wait(error, requested_delay(&status), RETRYING).await?;
                }
            }
        }
    }

    /// What the report is about.
    pub(super) fn header(&self) -> &proto::ReportHeader {
        &self.header
    }

    /// What its records must be.
    pub(super) fn record_check(&self) -> RecordCheck {
        RecordCheck::new(self.organization_id, &self.query)
    }

    /// How many records were received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The token to resume the report; empty: from the start.
    pub(super) fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    /// Reads the next message. `see` gets its records. Must not be called after the summary.
    pub(super) async fn next(
        &mut self,
        see: impl FnMut(Encoded<'_>) -> Result<(), ClientError>,
    ) -> Result<Received, ClientError> {
        let (bytes, is_first) = self.message().await?;
        let message = ReportMessage::read(&bytes, see)?;
        let count = message.record_count;
        if message.header.is_some() != is_first {
            return Err(ClientError::wrong("its header came twice"));
        }
        if count == 0 && message.summary.is_none() && !is_first {
            return Err(ClientError::wrong("a message has neither records nor the summary"));
        }
        self.record_progress(count, message.resume_token)?;
        let Some(summary) = message.summary else { return Ok(Received::Records(count)) };
        self.expect_end().await?;
        Ok(Received::Summary(count, summary))
    }

    /// The next message, and whether it is the first of its stream.
    async fn message(&mut self) -> Result<(Bytes, bool), ClientError> {
        if let Some(first) = self.first.take() {
            return Ok((first, true));
        }
        let cause = match self.backoff.call(self.stream.message()).await {
            Ok(Some(message)) => return Ok((message, false)),
            Ok(None) => None,
            Err(status) => Some(status),
        };
        Ok((self.resume(cause).await?, true))
    }

    fn record_progress(&mut self, records: u64, token: &[u8]) -> Result<(), ClientError> {
        self.received += records;
        let expected = self.header.record_count.cast_unsigned();
        if self.received > expected {
            return Err(ClientError::wrong(format!("it has more than the {expected} records that it announced")));
        }
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

    /// Nothing may follow a summary. If the stream ends in another way, the report is complete all the same.
    async fn expect_end(&mut self) -> Result<(), ClientError> {
        match tokio::time::timeout(END_LIMIT, self.stream.message()).await {
            Ok(Ok(Some(_))) => Err(ClientError::wrong("it goes on after its summary")),
            _ => Ok(()),
        }
    }

    /// Opens another stream after the last one was cut; returns its first message. Without a `cause`, it ended without a
    /// summary.
    async fn resume(&mut self, cause: Option<Status>) -> Result<Bytes, ClientError> {
        let cut = Status::unavailable("the stream ended before its summary");
        let mut cause = cause.unwrap_or_else(|| cut.clone());
        loop {
            let error = ClientError::from_status(&self.client.server, CALL, &cause);
            let next = format!("{} of {} records were received, resuming", self.received, self.header.record_count);
            if let Err(error) = self.backoff.wait(error, requested_delay(&cause), &next).await {
                return Err(if cause.message() == cut.message() { self.incomplete() } else { error });
            }
            match self.backoff.call(open(&self.client, &self.request)).await {
                Ok(opened) => {
                    let (stream, first, header) = opened?;
                    self.check_resumed(&header)?;
                    (self.stream, self.header) = (stream, header);
                    return Ok(first);
                }
                Err(status) => cause = status,
            }
        }
    }

    fn check_resumed(&self, header: &proto::ReportHeader) -> Result<(), ClientError> {
        if check_header(header, &self.query)? != self.organization_id {
            return Err(ClientError::CannotResume("the tenant belongs to another organization now".to_owned()));
        }
        if self.received > 0 && header.revision != self.header.revision {
            return Err(ClientError::CannotResume("the report has another revision now".to_owned()));
        }
        if self.received > 0 && header.record_count != self.header.record_count {
            return Err(ClientError::wrong("the same revision has another number of records"));
        }
        check_position(header, self.received)
    }

    fn incomplete(&self) -> ClientError {
        ClientError::Incomplete { received: self.received, expected: self.header.record_count.cast_unsigned() }
    }
}

/// A status may be transient; an answer that is wrong is not.
async fn open(
    client: &Client,
    request: &proto::GetDetailedUsageRequest,
) -> Result<Result<Opened, ClientError>, Status> {
    let mut stream = client.stream(CALL, request.clone()).await?;
    let first = stream.message().await?;
    let first = first.ok_or_else(|| Status::unavailable("the stream ended before it began"))?;
    Ok(read_header(&first).map(|header| (stream, first, header)))
}

fn read_header(message: &[u8]) -> Result<proto::ReportHeader, ClientError> {
    let header = ReportMessage::read(message, |_| Ok(()))?.header;
    let header = header.ok_or_else(|| ClientError::Malformed("first message: no header".to_owned()))?;
    proto::ReportHeader::decode(header).map_err(|error| ClientError::malformed("header", error.to_string()))
}

fn check_position(header: &proto::ReportHeader, received: u64) -> Result<(), ClientError> {
    let resumed = header.resumed_record_count.cast_unsigned();
    if resumed == received {
        return Ok(());
    }
    Err(ClientError::CannotResume(format!("the server resumes after {resumed} records, but {received} were received")))
}
