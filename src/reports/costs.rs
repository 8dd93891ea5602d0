//! What an organization owes: stored totals, rated. A bill is gone over part by part, and of its lines, those of the page are
//! kept.

mod adjustments;
pub(crate) mod compute;
pub(crate) mod document;
mod page;
mod page_token;
mod pages;
mod totals;
mod walk;

use std::sync::Arc;

use bigdecimal::BigDecimal;

pub(crate) use adjustments::Adjustments;
pub use pages::CostPages;
pub use totals::CostTotals;

use super::{
    PageSize, RatedTier, ReportError,
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    model::{
        BillingRegion, Currency, Meter, Month, MonthRange, OrganizationId, RoundingMode, StatementNumber, TenantId,
        UtcTime,
    },
    statement::MissingDays,
    store::{Hidden, Store},
};
use compute::Rates;
use page::Page;
use page_token::PageToken;
use totals::Bill;
use walk::Walk;

#[derive(Clone, Debug)]
pub struct CostsRequest {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub months: MonthRange,
    /// The usage, prices and statements as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    pub basis: CostBasis,
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

/// What closed months show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CostBasis {
    /// What their statements have billed.
    #[default]
    Bill,
    /// What they would cost now.
    Current,
}

/// Whether a month has its final bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillState {
    Open,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Costs {
    pub organization_id: OrganizationId,
    pub organization_name: String,
    pub currency: Currency,
    /// By month, tenant name, tenant id, meter name and region.
    pub lines: Vec<CostLine>,
    /// Of usage in months that are closed, behind all lines: by billing month, month of the usage, and then as lines.
    pub adjustments: Vec<CostAdjustment>,
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
    /// `false`: the meter is measured and not charged, so the cost is zero whatever prices there are.
    pub is_charged: bool,
    /// The parts of the quantity in each tier.
    pub tiers: Vec<RatedTier>,
    /// Rounded; `None` if no price covers the quantity.
    pub cost: Option<BigDecimal>,
    /// By the price that was used; `None` if none was.
    pub rounding: Option<RoundingMode>,
    /// The number of records that are added up.
    pub record_count: i64,
}

/// The difference between what a line of a closed month costs now and what statements have billed for it.
#[derive(Clone, Debug)]
pub struct CostAdjustment {
    /// On the bill of this month.
    pub billing_month: Month,
    /// The line as it is now, of the month of the usage.
    pub line: CostLine,
    pub billed: BigDecimal,
    pub amount: BigDecimal,
    /// Of the report that the line comes from.
    pub revision: Revision,
}

#[derive(Clone, Debug)]
pub struct CostTotal {
    pub month: Month,
    /// The sum of its lines' costs.
    pub cost: BigDecimal,
    /// The sum of the amounts of the adjustments on its bill.
    pub adjustment: BigDecimal,
    pub state: BillState,
    /// Its statement; a month may be closed without one, before the first.
    pub statement: Option<StatementNumber>,
}

#[derive(Clone, Debug)]
pub struct TenantMonth {
    pub month: Month,
    pub tenant_id: TenantId,
    pub revision: Revision,
    /// When the newest load was published.
    pub data_as_of: Option<UtcTime>,
    /// Days that sources have not delivered, by source.
    pub missing_days: Vec<MissingDays>,
}

/// Why an organization has no such tenant: that of another one is out of its scope.
pub(super) async fn hidden(store: &Store, scope: &TenantScope, tenant: TenantId) -> Result<Hidden, ReportError> {
    let found = store.find_tenant(scope, tenant).await?.visible();
    Ok(found.map_or_else(|hidden| hidden, |_| Hidden::OutOfScope))
}

/// Computes what an organization owes, or what statements say that it owes.
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
    let bill = Bill { epoch: store.epoch(), query, snapshot: snapshot.time() };
    let mut walk = Walk::new(&mut reader, request).await?;
    let names = walk.names(&reader);
    let after = match &token {
        Some(token) => Some(token.position(names, &mut reader, &meters).await?),
        None => None,
    };
    let currency = organization.currency();
    let rates = Rates::new(meters, reader.take_prices(), currency);
    let mut page = Page::new(request.page_size, after);
    let totals = walk.run(&mut reader, &rates, &mut page, known.get(&bill)).await?;
    let tenant_months = walk.reports(&reader, page.lines()).await?;
    reader.end().await?;
    let token = if page.has_more() { PageToken::new(query, snapshot, names, &page) } else { None };
    if token.is_some() {
        known.keep(bill, &totals);
    }
    let (lines, adjustments) = page.into_parts();
    let next_page_token = token.map_or_else(String::new, |token| token.seal());
    Ok(Costs {
        organization_id: organization.id(),
        organization_name: organization.name().to_owned(),
        currency,
        lines,
        adjustments,
        totals,
        tenant_months,
        next_page_token,
    })
}
