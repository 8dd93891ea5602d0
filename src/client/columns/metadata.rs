//! What the metadata of columns say of their report.

use arrow_schema::Schema;

use crate::{
    client::ClientError,
    contract::proto::{MissingDays, ReportHeader, ReportSummary, UsageTotal},
    model::{BillingRegion, Month, UtcTime},
};

const RECORD_COUNT: &str = "recordCount";

/// Whether the number of records is known.
pub(super) fn has_record_count(schema: &Schema) -> bool {
    schema.metadata().contains_key(RECORD_COUNT)
}

/// The header of the report, or of a slice of it.
pub(super) fn header(schema: &Schema) -> Result<ReportHeader, ClientError> {
    let text = |name: &str| schema.metadata().get(name).cloned().unwrap_or_default();
    let month: Month = text("month").parse().map_err(|_| ClientError::malformed("month", text("month")))?;
    let data_as_of = match text("dataAsOf").as_str() {
        "" => None,
        time => Some(time.parse::<UtcTime>().map_err(|_| ClientError::malformed("dataAsOf", time))?.into()),
    };
    let record_count = match text(RECORD_COUNT).as_str() {
        "" => 0,
        count => count.parse().map_err(|_| ClientError::malformed(RECORD_COUNT, count))?,
    };
    let missing_days = match text("missingDays").as_str() {
        "" => Vec::new(),
        json => missing_days(json).ok_or_else(|| ClientError::malformed("missingDays", json))?,
    };
    Ok(ReportHeader {
        tenant_id: text("tenantId"),
        tenant_name: text("tenantName"),
        organization_id: text("organizationId"),
        month: Some(month.into()),
        revision: text("revision"),
        data_as_of,
        record_count,
        resumed_record_count: 0,
        missing_days,
    })
}

fn missing_days(json: &str) -> Option<Vec<MissingDays>> {
    let read = |missing: &serde_json::Value| {
        let days = missing["days"].as_array()?.iter().map(|day| day.as_str().map(str::to_owned));
        Some(MissingDays { source: missing["source"].as_str()?.to_owned(), days: days.collect::<Option<_>>()? })
    };
    serde_json::from_str::<serde_json::Value>(json).ok()?.as_array()?.iter().map(read).collect()
}

/// What the records of a slice add up to.
pub(super) fn summary(json: &[u8]) -> Result<ReportSummary, ClientError> {
    let read = |json: &serde_json::Value| {
        let count = |value: &serde_json::Value| value.as_str()?.parse().ok();
        let total = |total: &serde_json::Value| {
            let region = total["billingRegion"].as_str()?.strip_prefix("BILLING_REGION_")?;
            Some(UsageTotal {
                meter_name: total["meterName"].as_str()?.to_owned(),
                meter_id: total["meterId"].as_str()?.to_owned(),
                billing_region: region.parse::<BillingRegion>().ok()?.code().into(),
                trial: total["trial"].as_bool()?,
                quantity: total["quantity"].as_str()?.to_owned(),
                record_count: count(&total["recordCount"])?,
            })
        };
        let totals = json["totals"].as_array()?.iter().map(total).collect::<Option<_>>()?;
        Some(ReportSummary { record_count: count(&json["recordCount"])?, totals })
    };
    let malformed = || ClientError::Malformed("the totals of a slice".to_owned());
    read(&serde_json::from_slice(json).map_err(|_| malformed())?).ok_or_else(malformed)
}
