//! What an organization owes: stored totals, rated. A bill is gone over part by part, and of its lines, those of the page are
//! kept.

mod compute;
mod page;
mod page_token;
mod totals;

use std::sync::Arc;

use bigdecimal::BigDecimal;

pub use totals::CostTotals;

use super::{
    PageSize, RatedTier, ReportError,
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    model::{BillingRegion, Currency, Meter, Month, MonthRange, OrganizationId, TenantId, UtcTime},
    store::{CostReader, Hidden, Store, StoreError},
};
pub(super) use compute::{Rates, tenant_months};
use page::Page;
use page_token::PageToken;
use totals::{Bill, Sums};

#[derive(Clone, Debug)]
pub struct CostsRequest {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub months: MonthRange,
    /// The usage and prices as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

#[derive(Clone, Debug)]
pub struct Costs {
    pub organization_id: OrganizationId,
    pub currency: Currency,
    /// By month, tenant name, tenant id, meter name and region.
    pub lines: Vec<CostLine>,
    /// The sum of the lines of each month, over all pages.
    pub totals: Arc<[CostTotal]>,
    /// The reports that the lines are from.
    pub tenant_months: Vec<TenantMonth>,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// What a tenant owes for a meter in a region and month.
#[derive(Clone, Debug)]
pub struct CostLine {
    pub month: Month,
    pub tenant_id: TenantId,
    pub tenant_name: String,
    pub plan: String,
    pub meter: std::sync::Arc<Meter>,
    pub billing_region: BillingRegion,
    /// Billable; exact.
    pub quantity: BigDecimal,
    /// Exact.
    pub trial_quantity: BigDecimal,
    /// The parts of the quantity in each tier.
    pub tiers: Vec<RatedTier>,
    /// Rounded; `None` if no price covers the quantity.
    pub cost: Option<BigDecimal>,
    /// The number of records that are added up.
    pub record_count: i64,
}

#[derive(Clone, Debug)]
pub struct CostTotal {
    pub month: Month,
    /// The sum of its lines' costs.
    pub cost: BigDecimal,
}

#[derive(Clone, Debug)]
pub struct TenantMonth {
    pub month: Month,
    pub tenant_id: TenantId,
    pub revision: Revision,
    /// When the newest load was published.
    pub data_as_of: Option<UtcTime>,
}

/// Why an organization has no such tenant: that of another one is out of its scope.
pub(super) async fn hidden(store: &Store, scope: &TenantScope, tenant: TenantId) -> Result<Hidden, ReportError> {
    let found = store.find_tenant(scope, tenant).await?.visible();
    Ok(found.map_or_else(|hidden| hidden, |_| Hidden::OutOfScope))
}

/// Goes over a bill until there is nothing left to be found out.
async fn go_over(
    reader: &mut CostReader,
    rates: &Rates,
    page: &mut Page,
    mut sums: Option<&mut Sums>,
) -> Result<(), StoreError> {
    while let Some(part) = reader.next_part().await? {
        let reports = tenant_months(&part);
        for line in rates.lines(&part)? {
            sums.iter_mut().for_each(|sums| sums.add(&line));
            page.take(line, &reports);
        }
        if page.has_more() && sums.is_none() {
            break;
        }
    }
    Ok(())
}

/// Computes what an organization owes.
///
/// # Errors
///
/// [`ReportError::PageTokenExpired`] if names have changed since the previous page.
pub async fn get_costs(
    store: &Store,
    known: &CostTotals,
    scope: &TenantScope,
    request: &CostsRequest,
) -> Result<Costs, ReportError> {
    let query = PageToken::query(request);
    let token = PageToken::open(&request.page_token, query)?;
    let snapshot = async {
        match &token {
            Some(token) => manifest::snapshot_of_token(store, token.snapshot(), "page_token").await,
            None => manifest::snapshot(store, request.as_of).await,
        }
    };
    let (organization, snapshot, meters) =
        tokio::join!(store.find_organization(scope, request.organization_id), snapshot, store.meters());
    let organization = organization?.visible().map_err(ReportError::OrganizationNotFound)?;
    let (snapshot, meters) = (snapshot?, meters?);
    let mut reader = store.read_costs(&organization, request.tenant_id, request.months, snapshot).await?;
    if let Some(tenant) = request.tenant_id
        && !reader.has_tenant(tenant).await?
    {
        reader.end().await?;
        return Err(ReportError::TenantNotFound(hidden(store, scope, tenant).await?));
    }
    let bill = Bill { epoch: store.epoch(), query, snapshot: snapshot.time(), names: reader.names() };
    let known_totals = known.get(&bill);
    let after = match &token {
        Some(token) => Some(token.position(request, &mut reader, &meters).await?),
        None => None,
    };
    let currency = organization.currency();
    let rates = Rates::new(meters, reader.take_prices(), currency);
    let mut page = Page::new(request.page_size, after);
    let totals = if let Some(totals) = known_totals {
        go_over(&mut reader, &rates, &mut page, None).await?;
        totals
    } else {
        reader.rewind();
        let mut sums = Sums::new(request.months, currency);
        go_over(&mut reader, &rates, &mut page, Some(&mut sums)).await?;
        sums.totals()
    };
    reader.end().await?;
    let has_more = page.has_more();
    let (lines, tenant_months) = page.into_parts();
    let last = lines.last().filter(|_| has_more);
    let next = last.map(|last| PageToken::new(query, snapshot, bill.names, last));
    if next.is_some() {
        known.keep(bill, &totals);
    }
    let next_page_token = next.map_or_else(String::new, |token| token.seal());
    Ok(Costs { organization_id: organization.id(), currency, lines, totals, tenant_months, next_page_token })
}
