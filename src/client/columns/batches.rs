//! Downloads a detailed usage report as batches of records, with the schema that its columns have.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::{
    announced,
    batch::{BatchReader, UsageBatch},
};
use crate::{
    client::{
        Client, ClientError, MAX_RESTARTS, UsageQuery,
        resuming::{Received, ResumingStream},
        usage::check_summary,
    },
    contract::proto,
    model::{DecimalForm, OrganizationId, TenantId, UsageKey},
};

/// The columns that the records of a report make.
#[derive(Clone, Debug)]
pub struct UsageColumns {
    /// With what the report is about as metadata.
    pub schema: SchemaRef,
    /// The form that all quantities fit.
    pub quantities: DecimalForm,
    /// Whose usage all records are.
    pub organization_id: OrganizationId,
    pub tenant_id: TenantId,
}

/// A report that is being downloaded in batches. If the connection is lost, it resumes by itself.
pub struct BatchesDownload {
    columns: UsageColumns,
    /// That the columns are of.
    revision: String,
    stream: ResumingStream,
    reader: BatchReader,
    summary: Option<proto::ReportSummary>,
}

// === impl BatchesDownload ===

impl BatchesDownload {
    pub(in crate::client) async fn start(client: Client, query: &UsageQuery) -> Result<Self, ClientError> {
        for _ in 0..=MAX_RESTARTS {
            let announced = announced(&client, query).await?;
            let stream = ResumingStream::start(client.clone(), query, String::new(), 0).await?;
            // Usage may have come between the two, or the tenant may have moved.
            let (header, announced_header) = (stream.header(), &announced.header);
            if (&header.revision, &header.organization_id)
                == (&announced_header.revision, &announced_header.organization_id)
            {
                let reader = BatchReader::new(stream.record_check());
                let columns = UsageColumns {
                    schema: announced.schema,
                    quantities: announced.quantities,
                    organization_id: announced.organization,
                    tenant_id: query.tenant_id,
                };
                let revision = announced.header.revision;
                return Ok(Self { columns, revision, stream, reader, summary: None });
            }
        }
        Err(ClientError::wrong("the report changes again and again"))
    }

    /// What the report is about.
    pub fn header(&self) -> &proto::ReportHeader {
        self.stream.header()
    }

    pub fn columns(&self) -> &UsageColumns {
        &self.columns
    }

    /// Puts the next records in place of those of a batch; `false` when the report is complete and agrees with its summary.
    ///
    /// # Errors
    ///
    /// [`ClientError::is_untrusted`]: the records so far must not be used.
    pub async fn next(&mut self, batch: &mut UsageBatch) -> Result<bool, ClientError> {
        batch.clear();
        while self.summary.is_none() {
            let Self { stream, reader, .. } = self;
            if let Received::Summary(_, summary) = stream.next(|records| reader.read(&records, batch)).await? {
                self.summary = Some(summary);
            }
            // A stream that was cut before its first record may go on as a newer report.
            if self.stream.header().revision != self.revision {
                return Err(ClientError::CannotResume("the report has another revision now".to_owned()));
            }
            if !batch.records().is_empty() {
                return Ok(true);
            }
        }
        self.check()?;
        Ok(false)
    }

    fn check(&self) -> Result<(), ClientError> {
        let Some(summary) = &self.summary else { return Ok(()) };
        let totals = self.reader.totals().map(|(key, total)| {
            let meter = Arc::as_ref(&key.meter);
            (UsageKey { meter, billing_region: key.billing_region, trial: key.trial }, total)
        });
        check_summary(self.stream.header(), summary, self.stream.received(), totals)
    }
}
