//! What the rows of a breakdown must be for the request that they answer.

use std::collections::{BTreeMap, HashSet};

use bigdecimal::BigDecimal;

use super::{
    BreakdownQuery, ClientError,
    exact::exact,
    report_check::{check_as_of, check_revision},
};
use crate::{
    contract::proto::{BreakdownHeader, BreakdownReport, BreakdownSummary, CostShare, YearMonth},
    model::{AssetType, BillSubject, CostGroup, Month, OrganizationId, TenantId, UsageDay, UtcTime, composed},
};

/// Holds rows against a request, as they come.
pub(super) struct BreakdownCheck {
    query: BreakdownQuery,
    organization_id: OrganizationId,
    currency: String,
    /// Of the filter, [composed].
    asset_ids: HashSet<String>,
    meter_names: HashSet<String>,
    last: Option<CostShare>,
    sums: BTreeMap<Month, BigDecimal>,
    row_count: u64,
}

/// Checks a header by itself; returns the organization.
pub(super) fn check_header(header: &BreakdownHeader, query: &BreakdownQuery) -> Result<OrganizationId, ClientError> {
    let organization_id: OrganizationId = header
        .organization_id
        .parse()
        .map_err(|_| ClientError::malformed("organization_id", &header.organization_id))?;
    if let BillSubject::Organization(asked, _) = query.subject
        && asked != organization_id
    {
        return Err(ClientError::wrong(format!("it is of organization {organization_id}, not of {asked}")));
    }
    let (start, end) = (query.months.start().into(), query.months.end().into());
    if (header.start_month, header.end_month) != (Some(start), Some(end)) {
        return Err(ClientError::wrong("it is of other months"));
    }
    if !query.groups.iter().map(|group| i32::from(group.code())).eq(header.group_by.iter().copied()) {
        return Err(ClientError::wrong("it is by other groups"));
    }
    if header.currency.is_empty() {
        return Err(ClientError::malformed("currency", &header.currency));
    }
    Ok(organization_id)
}

// === impl BreakdownCheck ===

impl BreakdownCheck {
    pub(super) fn new(query: BreakdownQuery, organization_id: OrganizationId, currency: String) -> Self {
        let names = |names: &[String]| names.iter().map(|name| composed(name).into_owned()).collect();
        Self {
            organization_id,
            currency,
            asset_ids: names(&query.filter.asset_ids),
            meter_names: names(&query.filter.meter_names),
            last: None,
            sums: query.months.iter().map(|month| (month, BigDecimal::default())).collect(),
            row_count: 0,
            query,
        }
    }

    pub(super) fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The rows of a message.
    pub(super) fn rows(&mut self, rows: &[CostShare], reports: &[BreakdownReport]) -> Result<(), ClientError> {
        let mut reports = reports.iter();
        let before = self.last.take();
        let mut last = before.as_ref();
        for row in rows {
            let month = self.row(row)?;
            if last.is_some_and(|last| position(last) >= position(row)) {
                return Err(ClientError::wrong("its rows are not in order, or come twice"));
            }
            let is_of = |other: &CostShare| (other.month, &other.tenant_id) == (row.month, &row.tenant_id);
            if !last.is_some_and(is_of) {
                self.report(row, reports.next())?;
            }
            if let Some(last) = last
                && line(last) == line(row)
                && last.cost.is_empty() != row.cost.is_empty()
            {
                return Err(ClientError::wrong("some rows of a line have a cost, and others have none"));
            }
            if !row.cost.is_empty() {
                let cost = exact(&row.cost).ok_or_else(|| ClientError::malformed("cost", &row.cost))?;
                *self.sums.entry(month).or_default() += cost;
            }
            self.row_count += 1;
            last = Some(row);
        }
        self.last = last.cloned();
        if reports.next().is_some() {
            return Err(ClientError::wrong("it has a report without rows"));
        }
        Ok(())
    }

    /// What the rows add up to.
    pub(super) fn summary(&self, summary: &BreakdownSummary) -> Result<(), ClientError> {
        if summary.row_count.cast_unsigned() != self.row_count {
            let (counted, received) = (summary.row_count, self.row_count);
            return Err(ClientError::Mismatch(format!(
                "the summary counts {counted} rows, but {received} were received"
            )));
        }
        if !summary.totals.iter().map(|total| month_of(total.month)).eq(self.sums.keys().copied().map(Some)) {
            return Err(ClientError::wrong("its totals are not those of the months"));
        }
        for (total, (month, sum)) in summary.totals.iter().zip(&self.sums) {
            let cost = exact(&total.cost).ok_or_else(|| ClientError::malformed("cost", &total.cost))?;
            if total.currency != self.currency {
                return Err(ClientError::wrong("it has several currencies"));
            }
            if cost != *sum {
                let (sum, total) = (sum.to_plain_string(), &total.cost);
                return Err(ClientError::Mismatch(format!(
                    "the rows of {month} add up to {sum}, its total is {total}"
                )));
            }
        }
        Ok(())
    }

    /// A row by itself; returns its month.
    fn row(&self, row: &CostShare) -> Result<Month, ClientError> {
        if row.organization_id != self.organization_id.to_string() {
            return Err(ClientError::wrong(format!("a row is of organization {:?}", row.organization_id)));
        }
        let tenant_id: TenantId =
            row.tenant_id.parse().map_err(|_| ClientError::malformed("tenant_id", &row.tenant_id))?;
        match self.query.subject {
            BillSubject::Organization(_, Some(asked)) | BillSubject::Tenant(asked) if asked != tenant_id => {
                return Err(ClientError::wrong(format!("a row is of tenant {tenant_id}")));
            }
            _ => {}
        }
        let month = month_of(row.month).filter(|month| self.query.months.contains(*month));
        let month = month.ok_or_else(|| ClientError::wrong("a row is of another month"))?;
        if row.currency != self.currency {
            return Err(ClientError::wrong("it has several currencies"));
        }
        for (field, amount) in [("quantity", &row.quantity), ("trial_quantity", &row.trial_quantity)] {
            exact(amount).ok_or_else(|| ClientError::malformed(field, amount))?;
        }
        self.groups(row, month)?;
        self.filter(row)?;
        Ok(month)
    }

    /// A row names its groups, and no others.
    fn groups(&self, row: &CostShare, month: Month) -> Result<(), ClientError> {
        let has = |group| self.query.groups.contains(group);
        let asset_type = AssetType::from_code(row.asset_type);
        let day: Option<UsageDay> = row.usage_day.parse().ok();
        let is_of_month = day.is_some_and(|day| Month::of(day.into()) == Some(month));
        let is_as_asked = asset_type.is_some() == self.query.groups.tells_asset_type()
            && row.asset_id.is_empty() != has(CostGroup::Asset)
            && (row.asset_name.is_empty() || has(CostGroup::Asset))
            && (if has(CostGroup::UsageDay) { is_of_month } else { row.usage_day.is_empty() })
            && (row.platform == 0 || has(CostGroup::Platform));
        if is_as_asked { Ok(()) } else { Err(ClientError::wrong("a row is not of the groups that were asked for")) }
    }

    fn filter(&self, row: &CostShare) -> Result<(), ClientError> {
        let filter = &self.query.filter;
        let has = |codes: Vec<i16>, code: i32| codes.is_empty() || codes.iter().any(|&asked| i32::from(asked) == code);
        let is_asked = has(filter.asset_types.iter().map(|value| value.code()).collect(), row.asset_type)
            && has(filter.billing_regions.iter().map(|value| value.code()).collect(), row.billing_region)
            && (self.asset_ids.is_empty() || self.asset_ids.contains(composed(&row.asset_id).as_ref()))
            && (self.meter_names.is_empty() || self.meter_names.contains(composed(&row.meter_name).as_ref()));
        if is_asked { Ok(()) } else { Err(ClientError::wrong("a row is one that the filter leaves out")) }
    }

    /// The report that the first row of a tenant's month comes with.
    fn report(&self, row: &CostShare, report: Option<&BreakdownReport>) -> Result<(), ClientError> {
        let report = report.filter(|report| (report.month, &report.tenant_id) == (row.month, &row.tenant_id));
        let report = report.ok_or_else(|| ClientError::wrong("a row is of no report"))?;
        check_revision(&report.revision)?;
        let published = report.data_as_of.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok());
        check_as_of(published, self.query.as_of)
    }
}

fn month_of(month: Option<YearMonth>) -> Option<Month> {
    month.and_then(|month| Month::new(month.year, month.month).ok())
}

/// What lines are ordered by.
fn line(row: &CostShare) -> ((i32, i32), &str, &str, &str, i32) {
    let month = row.month.map(|month| (month.year, month.month)).unwrap_or_default();
    (month, &row.tenant_name, &row.tenant_id, &row.meter_name, row.billing_region)
}

/// What rows are ordered by.
fn position(row: &CostShare) -> impl Ord {
    (line(row), row.asset_type, row.asset_id.as_str(), row.usage_day.as_str(), row.platform)
}
