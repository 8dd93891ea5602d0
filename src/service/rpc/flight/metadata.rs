//! What comes with columns besides: what they are of, and what they add up to. The names are those of the contract's JSON.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    contract::proto,
    model::{MonthRange, OrganizationId, UtcTime},
    reports::{CostTotal, FocusGaps, FocusHeader, FocusRequest, UsageHeader, UsageTotal},
    service::rpc::monthly_costs,
};

/// Of a whole report, or of a slice of it: so many records are to be expected, if that is known.
pub(super) fn of_usage(header: &UsageHeader, as_of: UtcTime, record_count: Option<u64>) -> HashMap<String, String> {
    let mut metadata = HashMap::from([
        ("organizationId".to_owned(), header.tenant.organization_id().to_string()),
        ("tenantId".to_owned(), header.tenant.id().to_string()),
        ("tenantName".to_owned(), header.tenant.name().to_owned()),
        ("month".to_owned(), header.month.to_string()),
        ("revision".to_owned(), header.revision.to_string()),
        ("asOf".to_owned(), as_of.to_string()),
    ]);
    metadata.extend(header.data_as_of.map(|time| ("dataAsOf".to_owned(), time.to_string())));
    metadata.extend(record_count.map(|count| ("recordCount".to_owned(), count.to_string())));
    if !header.missing_days.is_empty() {
        let missing = header.missing_days.iter().map(|missing| {
            let missing = monthly_costs::missing_days(missing);
            json!({ "source": missing.source, "days": missing.days })
        });
        metadata.insert("missingDays".to_owned(), Value::Array(missing.collect()).to_string());
    }
    metadata
}

pub(super) fn of_costs(
    organization: OrganizationId,
    months: MonthRange,
    as_of: UtcTime,
    line_count: Option<u64>,
) -> HashMap<String, String> {
    let mut metadata = HashMap::from([
        ("organizationId".to_owned(), organization.to_string()),
        ("startMonth".to_owned(), months.start().to_string()),
        ("endMonth".to_owned(), months.end().to_string()),
        ("asOf".to_owned(), as_of.to_string()),
    ]);
    metadata.extend(line_count.map(|count| ("recordCount".to_owned(), count.to_string())));
    metadata
}

/// Of charges in the columns of a version of FOCUS.
pub(super) fn of_focus(request: &FocusRequest, as_of: UtcTime, charge_count: Option<u64>) -> HashMap<String, String> {
    let mut metadata = of_costs(request.organization_id, request.months, as_of, charge_count);
    metadata.insert("focusVersion".to_owned(), request.version.to_string());
    metadata.insert("byAsset".to_owned(), request.by_asset.to_string());
    metadata.extend(request.tenant_id.map(|id| ("tenantId".to_owned(), id.to_string())));
    metadata
}

/// What the records of a slice add up to: a `ReportSummary` in the JSON of Protocol Buffers.
pub(super) fn usage_summary<'a>(record_count: u64, totals: impl Iterator<Item = &'a UsageTotal>) -> Bytes {
    let totals = totals.map(|total| {
        let total = proto::UsageTotal::from(total);
        json!({
            "meterName": total.meter_name,
            "meterId": total.meter_id,
            "billingRegion": total.billing_region().as_str_name(),
            "trial": total.trial,
            "quantity": total.quantity,
            "recordCount": total.record_count.to_string(),
        })
    });
    to_bytes(&json!({ "recordCount": record_count.to_string(), "totals": totals.collect::<Vec<_>>() }))
}

/// What the lines and adjustments of each bill add up to: a `GetMonthlyCostsResponse` with totals alone, in that JSON.
pub(super) fn costs_summary(totals: &[CostTotal], currency: &str) -> Bytes {
    to_bytes(&json!({ "totals": cost_totals(totals, currency) }))
}

/// The same of charges, and what is not among them.
pub(super) fn focus_summary(header: &FocusHeader, gaps: FocusGaps) -> Bytes {
    to_bytes(&json!({
        "totals": cost_totals(&header.totals, header.currency.code()),
        "unpricedLineCount": gaps.unpriced_lines.to_string(),
        "incompleteReportCount": gaps.incomplete_reports.to_string(),
    }))
}

fn cost_totals(totals: &[CostTotal], currency: &str) -> Value {
    let totals = totals.iter().map(|total| {
        let total = monthly_costs::cost_total(total, currency);
        let month = total.month.unwrap_or_default();
        json!({
            "month": { "year": month.year, "month": month.month },
            "currency": total.currency,
            "cost": total.cost,
            "adjustment": total.adjustment,
            "amountDue": total.amount_due,
            "state": total.state().as_str_name(),
            "statementNumber": total.statement_number,
        })
    });
    totals.collect()
}

fn to_bytes(json: &Value) -> Bytes {
    json.to_string().into()
}
