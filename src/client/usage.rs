//! Downloads a detailed usage report and checks it against its summary.

use std::sync::Arc;

use bigdecimal::BigDecimal;
use prost::Message as _;

use super::{Client, ClientError, resuming::ResumingStream};
use crate::{
    contract::{InvalidMessage, RecordReader, billing_region, proto},
    model::UsageFilter,
    model::{Meter, Month, TenantId, Total, Totals, TotalsMismatch, UsageKey, UsageRecord, UtcTime, plain},
};

#[derive(Clone, Debug)]
pub struct UsageQuery {
    pub tenant_id: TenantId,
    pub month: Month,
    pub filter: UsageFilter,
    /// The report as it was at this time; `None`: now.
    pub as_of: Option<UtcTime>,
}

/// A report that is being downloaded. If the connection is lost, it resumes by itself.
pub struct UsageDownload {
    stream: ResumingStream,
    reader: RecordReader,
    totals: Totals<Arc<Meter>>,
    summary: Option<proto::ReportSummary>,
}

// === impl UsageQuery ===

impl UsageQuery {
    /// The whole report as it is now.
    pub fn new(tenant_id: TenantId, month: Month) -> Self {
        Self { tenant_id, month, filter: UsageFilter::default(), as_of: None }
    }

    pub(super) fn to_request(&self) -> proto::GetDetailedUsageRequest {
        let filter = &self.filter;
        proto::GetDetailedUsageRequest {
            tenant_id: self.tenant_id.to_string(),
            month: Some(self.month.into()),
            filter: Some(proto::UsageFilter {
                asset_types: filter.asset_types.iter().map(|value| value.code().into()).collect(),
                asset_ids: filter.asset_ids.clone(),
                meter_names: filter.meter_names.clone(),
                billing_regions: filter.billing_regions.iter().map(|value| value.code().into()).collect(),
                trial: filter.trial,
            }),
            as_of: self.as_of.map(Into::into),
            resume_token: String::new(),
        }
    }
}

// === impl UsageDownload ===

impl UsageDownload {
    pub(super) async fn start(client: Client, request: proto::GetDetailedUsageRequest) -> Result<Self, ClientError> {
        let stream = ResumingStream::start(client, request, 0).await?;
        Ok(Self { stream, reader: RecordReader::default(), totals: Totals::default(), summary: None })
    }

    /// What the report is about.
    pub fn header(&self) -> &proto::ReportHeader {
        self.stream.header()
    }

    /// The next records; `None` when the report is complete and agrees with its summary.
    ///
    /// # Errors
    ///
    /// [`ClientError::Mismatch`] if the records do not match the summary: the records so far must not be used.
    pub async fn next(&mut self) -> Result<Option<Vec<UsageRecord>>, ClientError> {
        while self.summary.is_none() {
            let message = proto::GetDetailedUsageResponse::decode(self.stream.next().await?);
            let message = message.map_err(|error| ClientError::malformed("message", error.to_string()))?;
            self.summary = message.summary;
            self.stream.record_progress(message.records.len() as u64, message.resume_token.as_bytes())?;
            if !message.records.is_empty() {
                return self.read_records(message.records).map(Some);
            }
        }
        self.check()?;
        Ok(None)
    }

    fn read_records(&mut self, records: Vec<proto::UsageRecord>) -> Result<Vec<UsageRecord>, ClientError> {
        let records: Vec<UsageRecord> =
            records.into_iter().map(|record| self.reader.read(record)).collect::<Result<_, InvalidMessage>>()?;
        for record in &records {
            let UsageKey { meter, billing_region, trial } = record.dimensions.usage_key();
            self.totals.add(&UsageKey { meter: Arc::clone(meter), billing_region, trial }, record.quantity);
        }
        Ok(records)
    }

    /// Compares the received records with the header and the summary.
    fn check(&self) -> Result<(), ClientError> {
        let Some(summary) = &self.summary else { return Ok(()) };
        let totals = self.totals.iter().map(|(key, total)| {
            let key = UsageKey { meter: &*key.meter, billing_region: key.billing_region, trial: key.trial };
            (key, total)
        });
        check_summary(self.stream.header(), summary, self.stream.received(), totals)
    }
}

/// Compares received records with the header and the summary.
pub(super) fn check_summary<'a>(
    header: &proto::ReportHeader,
    summary: &proto::ReportSummary,
    received: u64,
    totals: impl Iterator<Item = (UsageKey<&'a Meter>, &'a Total)>,
) -> Result<(), ClientError> {
    for (what, count) in [("the summary", summary.record_count), ("the header", header.record_count)] {
        if count.cast_unsigned() != received {
            return Err(ClientError::Mismatch(format!("{what} counts {count} records, but {received} were received")));
        }
    }
    let mut found: Totals<Meter> = Totals::default();
    for (UsageKey { meter, billing_region, trial }, total) in totals {
        let key = UsageKey { meter: meter.clone(), billing_region, trial };
        found.resume(&key, total.record_count, total.quantity.total());
    }
    let expected = summary.totals.iter().map(expected_total).collect::<Result<Vec<_>, _>>()?;
    found.check(expected.into_iter()).map_err(|mismatch| {
        ClientError::Mismatch(match mismatch {
            TotalsMismatch::Keys => "it has other meters, regions or trial values".to_owned(),
            TotalsMismatch::Total { key, found, expected } => format!(
                "{} in {} adds up to {} in {} records, but should add up to {} in {}",
                key.meter.name,
                key.billing_region,
                plain(&found.1),
                found.0,
                plain(&expected.1),
                expected.0
            ),
        })
    })
}

fn expected_total(total: &proto::UsageTotal) -> Result<(UsageKey<Meter>, u64, BigDecimal), ClientError> {
    let malformed = |field: &str| ClientError::Malformed(field.to_owned());
    let meter = Meter {
        id: total.meter_id.parse().map_err(|_| malformed("meter_id"))?,
        name: total.meter_name.clone(),
        unit: String::new(),
    };
    let key = UsageKey { meter, billing_region: billing_region(total.billing_region)?, trial: total.trial };
    let quantity = total.quantity.parse().map_err(|_| malformed("quantity"))?;
    Ok((key, total.record_count.cast_unsigned(), quantity))
}
