//! Downloads a detailed usage report as CSV: the same report and the same check, without a value per field.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Client, ClientError, checkpoint::Checkpoint, csv_lines::CsvLines, resuming::ResumingStream, usage::check_summary,
};
use crate::contract::{CsvFormat, Fields, RECORDS, RESUME_TOKEN, SUMMARY, WireValue, proto};

/// A report that is being downloaded as lines of CSV. If the connection is lost, it resumes by itself.
pub struct CsvDownload {
    request: proto::GetDetailedUsageRequest,
    format: CsvFormat,
    stream: ResumingStream,
    lines: CsvLines,
    summary: Option<proto::ReportSummary>,
}

// === impl CsvDownload ===

impl CsvDownload {
    pub(super) async fn start(
        client: Client,
        request: proto::GetDetailedUsageRequest,
        format: CsvFormat,
    ) -> Result<Self, ClientError> {
        let stream = ResumingStream::start(client, request.clone(), 0).await?;
        Ok(Self { request, format, stream, lines: CsvLines::new(format), summary: None })
    }

    pub(super) async fn resume(
        client: Client,
        mut request: proto::GetDetailedUsageRequest,
        format: CsvFormat,
        from: &Checkpoint,
    ) -> Result<Self, ClientError> {
        if !from.matches_request(&request, format) {
            return Err(ClientError::CheckpointMismatch);
        }
        let lines = CsvLines::resumed(format, &from.sums)?;
        request.resume_token.clone_from(&from.resume_token);
        let stream = ResumingStream::start(client, request.clone(), from.received).await?;
        if stream.header().revision != from.revision {
            return Err(ClientError::CannotResume("the report has another revision now".to_owned()));
        }
        Ok(Self { request, format, stream, lines, summary: None })
    }

    /// What the report is about.
    pub fn header(&self) -> &proto::ReportHeader {
        self.stream.header()
    }

    /// The state after the lines that [`next`](Self::next) has added so far.
    pub fn checkpoint(&self) -> Checkpoint {
        let request = proto::GetDetailedUsageRequest {
            resume_token: self.stream.resume_token().to_owned(),
            ..self.request.clone()
        };
        let revision = self.stream.header().revision.clone();
        Checkpoint::new(&request, self.format, revision, self.stream.received(), self.lines.checkpoint())
    }

    /// Adds the next lines to `out`, and returns how many there are; `None` when the report is complete and agrees with
    /// its summary. The line with the columns' names is not among them.
    ///
    /// # Errors
    ///
    /// [`ClientError::Mismatch`] if the records do not match the summary: the lines so far must not be used.
    pub async fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<u64>, ClientError> {
        if let Some(summary) = &self.summary {
            check_summary(self.stream.header(), summary, self.stream.received(), self.lines.totals())?;
            return Ok(None);
        }
        let message: Bytes = self.stream.next().await?;
        let mut count = 0;
        let mut token: &[u8] = &[];
        let mut fields = Fields::new(&message);
        while let Some((number, value)) = fields.next() {
            match (number, value) {
                (RECORDS, WireValue::Bytes(record)) => {
                    self.lines.write(record, out)?;
                    count += 1;
                }
                (RESUME_TOKEN, WireValue::Bytes(after)) => token = after,
                (SUMMARY, WireValue::Bytes(summary)) => {
                    let summary = proto::ReportSummary::decode(summary);
                    self.summary = Some(summary.map_err(|error| ClientError::malformed("summary", error.to_string()))?);
                }
                // The header has been read.
                _ => {}
            }
        }
        if !fields.rest.is_empty() {
            return Err(ClientError::Malformed("message".to_owned()));
        }
        self.stream.record_progress(count, token)?;
        Ok(Some(count))
    }
}
