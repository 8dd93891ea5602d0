//! Downloading a detailed usage report as CSV: the same report, and the same check, without a value per field.

use bytes::Bytes;
use prost::Message as _;
use tonic::Streaming;

use super::{
    ClientError,
    csv_lines::CsvLines,
    from_proto::malformed,
    usage::check_summary,
    wire::{Fields, Value},
};
use crate::{model::CsvFormat, proto};

/// A report that is being downloaded as lines of CSV.
pub struct CsvDownload {
    stream: Streaming<Bytes>,
    server: String,
    header: proto::ReportHeader,
    lines: CsvLines,
    /// The message that the header came in; its records are yet to be read.
    first: Option<Bytes>,
    received: u64,
    summary: Option<proto::ReportSummary>,
}

// === impl CsvDownload ===

impl CsvDownload {
    pub(super) async fn start(
        mut stream: Streaming<Bytes>,
        server: String,
        format: CsvFormat,
    ) -> Result<Self, ClientError> {
        let first = stream.message().await.map_err(|status| ClientError::from_status(&server, &status))?;
        let first = first.ok_or(ClientError::Incomplete { received: 0, expected: 0 })?;
        let message = proto::GetDetailedUsageResponse::decode(first.clone());
        let header = message.map_err(|error| malformed("message", error.to_string()))?.header;
        let header = header.ok_or_else(|| ClientError::Malformed("first message: no header".to_owned()))?;
        let lines = CsvLines::new(format);
        Ok(Self { stream, server, header, lines, first: Some(first), received: 0, summary: None })
    }

    /// What the report is about.
    pub fn header(&self) -> &proto::ReportHeader {
        &self.header
    }

    /// Adds the next lines to `out`, and returns how many there are; `None` when the report is complete and agrees with
    /// its summary. The line with the columns' names is not among them.
    pub async fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<u64>, ClientError> {
        let message = match self.first.take() {
            Some(first) => first,
            None if self.summary.is_some() => {
                self.check()?;
                return Ok(None);
            }
            None => {
                let message = self.stream.message().await;
                let message = message.map_err(|status| ClientError::from_status(&self.server, &status))?;
                message.ok_or(ClientError::Incomplete {
                    received: self.received,
                    expected: self.header.record_count.cast_unsigned(),
                })?
            }
        };
        let before = self.received;
        let mut fields = Fields::new(&message);
        while let Some((number, value)) = fields.next() {
            match (number, value) {
                (2, Value::Bytes(record)) => {
                    self.lines.write(record, out)?;
                    self.received += 1;
                }
                (4, Value::Bytes(summary)) => {
                    let summary = proto::ReportSummary::decode(summary);
                    self.summary = Some(summary.map_err(|error| malformed("summary", error.to_string()))?);
                }
                // The header has been read, and a token is for those who resume.
                _ => {}
            }
        }
        if !fields.rest.is_empty() {
            return Err(ClientError::Malformed("message".to_owned()));
        }
        Ok(Some(self.received - before))
    }

    fn check(&self) -> Result<(), ClientError> {
        let Some(summary) = &self.summary else { return Ok(()) };
        check_summary(&self.header, summary, self.received, self.lines.sums())
    }
}
