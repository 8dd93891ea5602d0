//! Downloads a detailed usage report and checks it against its summary.

use std::{collections::HashSet, sync::Arc};

use bigdecimal::BigDecimal;
use prost::Message as _;

use super::{
    Client, ClientError,
    exact::exact,
    report_check::RecordCheck,
    report_message::MAX_SUMS,
    resuming::{Received, ResumingStream},
};
use crate::{
    contract::{RecordReader, billing_region, proto},
    model::{
        Meter, Month, StatementNumber, TenantId, Total, Totals, TotalsMismatch, UsageFilter, UsageKey, UsageRecord,
        UtcTime, plain,
    },
};

#[derive(Clone, Debug)]
pub struct UsageQuery {
    pub tenant_id: TenantId,
    pub month: Month,
    pub filter: UsageFilter,
    /// The report as it was at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    /// As this statement has billed it, instead.
    pub statement: Option<StatementNumber>,
}

/// A report that is being downloaded. If the connection is lost, it resumes by itself.
pub struct UsageDownload {
    stream: ResumingStream,
    reader: RecordReader,
    check: RecordCheck,
    /// The usage day of the last record.
    day: i32,
    totals: Totals<Arc<Meter>>,
    summary: Option<proto::ReportSummary>,
}

// === impl UsageQuery ===

impl UsageQuery {
    /// The whole report as it is now.
    pub fn new(tenant_id: TenantId, month: Month) -> Self {
        Self { tenant_id, month, filter: UsageFilter::default(), as_of: None, statement: None }
    }

    /// As the contract has it.
    pub fn to_request(&self) -> proto::GetDetailedUsageRequest {
        let filter = &self.filter;
        proto::GetDetailedUsageRequest {
            statement_number: self.statement.map(|number| number.to_string()).unwrap_or_default(),
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
            packed: false,
        }
    }
}

// === impl UsageDownload ===

impl UsageDownload {
    pub(super) async fn start(client: Client, query: &UsageQuery) -> Result<Self, ClientError> {
        let stream = ResumingStream::start(client, query, String::new(), 0).await?;
        let check = stream.record_check();
        let (reader, totals) = (RecordReader::default(), Totals::default());
        Ok(Self { stream, reader, check, day: i32::MIN, totals, summary: None })
    }

    /// What the report is about.
    pub fn header(&self) -> &proto::ReportHeader {
        self.stream.header()
    }

    /// The next records; `None` when the report is complete and agrees with its summary.
    ///
    /// # Errors
    ///
    /// [`ClientError::is_untrusted`]: the records so far must not be used.
    pub async fn next(&mut self) -> Result<Option<Vec<UsageRecord>>, ClientError> {
        while self.summary.is_none() {
            let mut records = Vec::new();
            let Self { stream, reader, check, day, totals, .. } = self;
            let mut read = |encoded: &[u8]| {
                let record = proto::UsageRecord::decode(encoded);
                let record = record.map_err(|error| ClientError::malformed("record", error.to_string()))?;
                let record = reader.read(record)?;
                check.record(&record)?;
                let next_day = record.dimensions.start.day_number();
                check.days(*day, next_day)?;
                *day = next_day;
                let UsageKey { meter, billing_region, trial } = record.dimensions.usage_key();
                totals.add(&UsageKey { meter: Arc::clone(meter), billing_region, trial }, record.quantity);
                records.push(record);
                check_sums(totals.iter().len())
            };
            if let Received::Summary(_, summary) = stream.next(|records| records.each(&mut read)).await? {
                self.summary = Some(summary);
            }
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
        self.check()?;
        Ok(None)
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

/// Sums stay in memory, one for each meter, region and trial.
pub(super) fn check_sums(count: usize) -> Result<(), ClientError> {
    if count <= MAX_SUMS { Ok(()) } else { Err(ClientError::wrong(format!("it has more than {MAX_SUMS} sums"))) }
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
    let keys: HashSet<_> = expected.iter().map(|(key, ..)| key).collect();
    if keys.len() != expected.len() {
        return Err(ClientError::Mismatch("it has a sum twice".to_owned()));
    }
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
    let quantity = exact(&total.quantity).ok_or_else(|| malformed("quantity"))?;
    Ok((key, total.record_count.cast_unsigned(), quantity))
}
