//! `GetMonthlyCosts`: all pages, held against the request, and the lines against the totals.

use std::collections::BTreeMap;

use bigdecimal::{BigDecimal, Zero as _};

use super::{
    Client, ClientError, MAX_RESTARTS,
    exact::exact,
    pages::{Retained, has_contents, read_page},
    report_check::{check_as_of, moment},
};
use crate::{
    contract::{
        Fields, Reason, WireValue,
        proto::{self, CostAdjustment, CostBasis, CostLine, GetMonthlyCostsResponse, TenantMonth, UnpricedMeter},
    },
    model::{Month, MonthRange, OrganizationId, TenantId, UtcTime},
};

/// The most that a page has, by the contract.
const PAGE_LINES: usize = 5000;
const LINES: u32 = 1;
const REPORTS: u32 = 3;
const ADJUSTMENTS: u32 = 6;
/// Lists are among the first fields of a page.
const LISTS: u32 = 6;
/// `CostLine.tiers`.
pub(super) const LINE_TIERS: &[u32] = &[12];
/// The same, of `CostAdjustment.line`.
pub(super) const ADJUSTMENT_TIERS: &[u32] = &[2, 12];
/// `TenantMonth.missing_days.days`.
pub(super) const REPORT_DAYS: &[u32] = &[5, 2];

#[derive(Clone, Copy, Debug)]
pub struct CostsQuery {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub months: MonthRange,
    /// The usage and prices as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    /// What closed months would cost now, instead of what their statements have billed.
    pub current: bool,
}

/// What lines are ordered by: month, names and region.
type Place<'a> = ((i32, i32), [&'a str; 3], i32);

/// The pages so far.
#[derive(Default)]
struct Bill {
    costs: GetMonthlyCostsResponse,
    retained: Retained,
    page_count: u32,
}

// === impl Client ===

impl Client {
    /// Gets what an organization owes. Reads all pages.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if lines repeat, are out of order or not those that were asked for, or do not add up to
    /// the totals.
    pub async fn monthly_costs(&mut self, query: &CostsQuery) -> Result<GetMonthlyCostsResponse, ClientError> {
        let mut request = query.to_request();
        let mut bill = Bill::default();
        let mut restarts = 0;
        loop {
            let bytes = match self.unary("GetMonthlyCosts", &request).await {
                // The lines have changed since the previous pages.
                Err(ClientError::Refused { reason, .. })
                    if reason == Reason::PageTokenExpired.as_str() && restarts < MAX_RESTARTS =>
                {
                    restarts += 1;
                    request.page_token.clear();
                    bill = Bill::default();
                    continue;
                }
                bytes => bytes?,
            };
            bill.retained.add(bytes.len())?;
            let page = read(&bytes)?;
            request.page_token.clone_from(&page.next_page_token);
            bill.add(page, query)?;
            if request.page_token.is_empty() {
                bill.check_totals(query.months)?;
                return Ok(bill.costs);
            }
        }
    }
}

/// Decodes a page.
fn read(page: &[u8]) -> Result<GetMonthlyCostsResponse, ClientError> {
    let mut fields = Fields::new(page);
    while let Some((number, value)) = fields.next() {
        let WireValue::Bytes(entry) = value else { continue };
        let is_sound = match number {
            LINES => has_contents(entry, LINE_TIERS),
            ADJUSTMENTS => has_contents(entry, ADJUSTMENT_TIERS),
            REPORTS => has_contents(entry, REPORT_DAYS),
            _ => true,
        };
        if !is_sound {
            let what = if number == REPORTS { "a report has empty missing days" } else { "a line has an empty tier" };
            return Err(ClientError::wrong(what));
        }
    }
    read_page(page, LISTS, PAGE_LINES)
}

// === impl CostsQuery ===

impl CostsQuery {
    fn to_request(self) -> proto::GetMonthlyCostsRequest {
        proto::GetMonthlyCostsRequest {
            organization_id: self.organization_id.to_string(),
            tenant_id: self.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
            start_month: Some(self.months.start().into()),
            end_month: Some(self.months.end().into()),
            as_of: self.as_of.map(Into::into),
            basis: if self.current { CostBasis::Current } else { CostBasis::Bill }.into(),
            page_size: 0,
            page_token: String::new(),
        }
    }

    fn check_line(&self, line: &CostLine) -> Result<(), ClientError> {
        self.check_owner(line)?;
        self.check_month(line.month)
    }

    fn check_month(&self, month: Option<proto::YearMonth>) -> Result<(), ClientError> {
        let month = month.and_then(|month| Month::new(month.year, month.month).ok());
        if month.is_none_or(|month| !self.months.contains(month)) {
            return Err(ClientError::wrong("a line is of another month"));
        }
        Ok(())
    }

    /// Checks whose line it is, and its quantities.
    fn check_owner(&self, line: &CostLine) -> Result<(), ClientError> {
        if line.organization_id != self.organization_id.to_string() {
            return Err(ClientError::wrong(format!("a line is of organization {:?}", line.organization_id)));
        }
        let tenant_id: TenantId =
            line.tenant_id.parse().map_err(|_| ClientError::malformed("tenant_id", &line.tenant_id))?;
        if self.tenant_id.is_some_and(|asked| asked != tenant_id) {
            return Err(ClientError::wrong(format!("a line is of tenant {tenant_id}")));
        }
        for (field, amount) in [("quantity", &line.quantity), ("trial_quantity", &line.trial_quantity)] {
            exact(amount).ok_or_else(|| ClientError::malformed(field, amount))?;
        }
        let costs_nothing = || line.tiers.is_empty() && exact(&line.cost).is_some_and(|cost| cost.is_zero());
        if line.not_charged && !costs_nothing() {
            return Err(ClientError::wrong(format!("{:?} is not charged, and costs something", line.meter_name)));
        }
        Ok(())
    }
}

// === impl Bill ===

impl Bill {
    fn add(&mut self, page: GetMonthlyCostsResponse, query: &CostsQuery) -> Result<(), ClientError> {
        if page.lines.is_empty() && page.adjustments.is_empty() && !page.next_page_token.is_empty() {
            return Err(ClientError::wrong("a page is empty, and not the last one"));
        }
        if self.page_count > 0 && self.costs.totals != page.totals {
            return Err(ClientError::wrong("its pages have different totals"));
        }
        self.page_count += 1;
        self.costs.totals = page.totals;
        check_reports(&page.lines, &page.tenant_months, query.as_of)?;
        check_unpriced(&page.lines, &page.unpriced_meters)?;
        for line in page.lines {
            query.check_line(&line)?;
            if self.costs.lines.last().is_some_and(|last| position(last) >= position(&line)) {
                return Err(ClientError::wrong("its lines are not in order, or come twice"));
            }
            if !self.costs.adjustments.is_empty() {
                return Err(ClientError::wrong("a line is behind adjustments"));
            }
            self.costs.lines.push(line);
        }
        for adjustment in page.adjustments {
            check_adjustment(query, &adjustment)?;
            if self.costs.adjustments.last().is_some_and(|last| place(last) >= place(&adjustment)) {
                return Err(ClientError::wrong("its adjustments are not in order, or come twice"));
            }
            self.costs.adjustments.push(adjustment);
        }
        for report in page.tenant_months {
            // The lines of a report may be on two pages.
            match self.costs.tenant_months.last() {
                Some(last) if *last == report => {}
                Some(last) if (last.month, &last.tenant_id) == (report.month, &report.tenant_id) => {
                    return Err(ClientError::wrong("its pages are of different revisions"));
                }
                _ => self.costs.tenant_months.push(report),
            }
        }
        self.costs.unpriced_meters.extend(page.unpriced_meters);
        Ok(())
    }

    /// Each month has one total, which is the sum of its lines.
    fn check_totals(&self, months: MonthRange) -> Result<(), ClientError> {
        let mut sums: BTreeMap<(i32, i32), BigDecimal> = BTreeMap::new();
        let currency = self.costs.totals.first().map(|total| total.currency.as_str()).unwrap_or_default();
        for line in self.costs.lines.iter().filter(|line| !line.cost.is_empty()) {
            let cost = exact(&line.cost).ok_or_else(|| ClientError::malformed("cost", &line.cost))?;
            *sums.entry(year_and_month(line.month)).or_default() += cost;
        }
        let one_currency = self.costs.totals.iter().map(|total| &total.currency);
        if !one_currency.chain(self.costs.lines.iter().map(|line| &line.currency)).all(|other| other == currency) {
            return Err(ClientError::wrong("it has several currencies"));
        }
        let expected: Vec<_> = months.iter().map(|month| year_and_month(Some(month.into()))).collect();
        let found: Vec<_> = self.costs.totals.iter().map(|total| year_and_month(total.month)).collect();
        if found != expected {
            return Err(ClientError::wrong("its totals are not those of the months"));
        }
        for total in &self.costs.totals {
            let cost = exact(&total.cost).ok_or_else(|| ClientError::malformed("cost", &total.cost))?;
            let (year, month) = year_and_month(total.month);
            self.check_amount_due(total, &cost)?;
            let sum = sums.remove(&(year, month)).unwrap_or_default();
            if sum != cost {
                let sum = sum.to_plain_string();
                return Err(ClientError::wrong(format!(
                    "the lines of {year:04}-{month:02} add up to {sum}, and the total is {}",
                    total.cost
                )));
            }
        }
        Ok(())
    }
}

/// Where an adjustment stands in the order.
fn place(adjustment: &CostAdjustment) -> ((i32, i32), Option<Place<'_>>) {
    (year_and_month(adjustment.billing_month), adjustment.line.as_ref().map(position))
}

fn check_adjustment(query: &CostsQuery, adjustment: &CostAdjustment) -> Result<(), ClientError> {
    let line = adjustment.line.as_ref().ok_or_else(|| ClientError::wrong("an adjustment has no line"))?;
    query.check_owner(line)?;
    query.check_month(adjustment.billing_month)?;
    if year_and_month(line.month) >= year_and_month(adjustment.billing_month) {
        return Err(ClientError::wrong("an adjustment is of a month that is not before its bill"));
    }
    let amount = |field, text: &str| exact(text).ok_or_else(|| ClientError::malformed(field, text));
    // Usage without a price costs nothing yet.
    let cost = if line.cost.is_empty() { BigDecimal::default() } else { amount("cost", &line.cost)? };
    if cost - amount("billed", &adjustment.billed)? != amount("amount", &adjustment.amount)? {
        return Err(ClientError::wrong("an adjustment is not the difference of what it costs and what was billed"));
    }
    Ok(())
}

/// Where a line stands in the order.
fn position(line: &CostLine) -> Place<'_> {
    (year_and_month(line.month), [&line.tenant_name, &line.tenant_id, &line.meter_name], line.billing_region)
}

fn year_and_month(month: Option<proto::YearMonth>) -> (i32, i32) {
    month.map(|month| (month.year, month.month)).unwrap_or_default()
}

impl Bill {
    /// What a month comes to. Servers of before do not say.
    fn check_amount_due(&self, total: &proto::CostTotal, cost: &BigDecimal) -> Result<(), ClientError> {
        if total.amount_due.is_empty() {
            return Ok(());
        }
        let amount = |field, text: &str| exact(text).ok_or_else(|| ClientError::malformed(field, text));
        let of_month = self.costs.adjustments.iter().filter(|adjustment| adjustment.billing_month == total.month);
        let sum = of_month.map(|adjustment| amount("amount", &adjustment.amount)).sum::<Result<BigDecimal, _>>()?;
        if sum != amount("adjustment", &total.adjustment)? {
            return Err(ClientError::wrong("its adjustments do not add up to its totals"));
        }
        if sum + cost != amount("amount_due", &total.amount_due)? {
            return Err(ClientError::wrong("its lines and adjustments do not add up to what is due"));
        }
        Ok(())
    }
}

/// The reports of a page are those of its lines.
fn check_reports(lines: &[CostLine], reports: &[TenantMonth], as_of: Option<UtcTime>) -> Result<(), ClientError> {
    let mut expected: Vec<_> = lines.iter().map(|line| (line.month, &line.tenant_id)).collect();
    expected.dedup();
    if !expected.into_iter().eq(reports.iter().map(|report| (report.month, &report.tenant_id))) {
        return Err(ClientError::wrong("its reports are not those of its lines"));
    }
    for report in reports {
        check_as_of(moment(report.data_as_of), as_of)?;
    }
    Ok(())
}

/// The lines without a cost, and no others, have a quantity without a price.
fn check_unpriced(lines: &[CostLine], unpriced: &[UnpricedMeter]) -> Result<(), ClientError> {
    let without_cost = lines.iter().filter(|line| line.cost.is_empty());
    let expected = without_cost.map(|line| UnpricedMeter {
        month: line.month,
        tenant_id: line.tenant_id.clone(),
        meter_name: line.meter_name.clone(),
        meter_id: line.meter_id.clone(),
        billing_region: line.billing_region,
        currency: line.currency.clone(),
        quantity: line.quantity.clone(),
    });
    if expected.eq(unpriced.iter().cloned()) {
        return Ok(());
    }
    Err(ClientError::wrong("its quantities without a price are not those of its lines"))
}
