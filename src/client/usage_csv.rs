//! Downloads a detailed usage report as CSV: the same report and the same check, without a value per field.

use super::{
    Client, ClientError, UsageQuery,
    checkpoint::Checkpoint,
    csv_lines::CsvLines,
    resuming::{Received, ResumingStream},
    usage::check_summary,
};
use crate::contract::{CsvFormat, proto};

/// A report that is being downloaded as lines of CSV. If the connection is lost, it resumes by itself.
pub struct CsvDownload {
    query: UsageQuery,
    format: CsvFormat,
    stream: ResumingStream,
    lines: CsvLines,
    summary: Option<proto::ReportSummary>,
}

// === impl CsvDownload ===

impl CsvDownload {
    pub(super) async fn start(client: Client, query: &UsageQuery, format: CsvFormat) -> Result<Self, ClientError> {
        let stream = ResumingStream::start(client, query, String::new(), 0).await?;
        let lines = CsvLines::checked(format, stream.record_check());
        Ok(Self { query: query.clone(), format, stream, lines, summary: None })
    }

    pub(super) async fn resume(
        client: Client,
        query: &UsageQuery,
        format: CsvFormat,
        from: &Checkpoint,
    ) -> Result<Self, ClientError> {
        if !from.matches(query, format) {
            return Err(ClientError::CheckpointMismatch);
        }
        let stream = ResumingStream::start(client, query, from.resume_token.clone(), from.received).await?;
        if stream.header().revision != from.revision {
            return Err(ClientError::CannotResume("the report has another revision now".to_owned()));
        }
        let lines = CsvLines::resumed(format, stream.record_check(), &from.sums)?;
        Ok(Self { query: query.clone(), format, stream, lines, summary: None })
    }

    /// What the report is about.
    pub fn header(&self) -> &proto::ReportHeader {
        self.stream.header()
    }

    /// The state after the lines that [`next`](Self::next) has added so far.
    pub fn checkpoint(&self) -> Checkpoint {
        let request = proto::GetDetailedUsageRequest {
            resume_token: self.stream.resume_token().to_owned(),
            ..self.query.to_request()
        };
        let revision = self.stream.header().revision.clone();
        Checkpoint::new(&request, self.format, revision, self.stream.received(), self.lines.checkpoint())
    }

    /// Adds the next lines to `out`, and returns how many there are; `None` when the report is complete and agrees with
    /// its summary. The line with the columns' names is not among them.
    ///
    /// # Errors
    ///
    /// [`ClientError::is_untrusted`]: the lines so far must not be used.
    pub async fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<u64>, ClientError> {
        if let Some(summary) = &self.summary {
            check_summary(self.stream.header(), summary, self.stream.received(), self.lines.totals())?;
            return Ok(None);
        }
        let Self { stream, lines, .. } = self;
        match stream.next(|records| lines.write_all(&records, out)).await? {
            Received::Records(count) => Ok(Some(count)),
            Received::Summary(count, summary) => {
                self.summary = Some(summary);
                Ok(Some(count))
            }
        }
    }
}
