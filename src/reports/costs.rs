//! What an organization owes: stored totals, rated.

mod compute;
mod page_token;

use bigdecimal::BigDecimal;

use super::{
    PageSize, RatedTier, ReportError,
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    model::{BillingRegion, Currency, Meter, Month, MonthRange, OrganizationId, TenantId, UtcTime},
    store::{Hidden, Store},
};
use page_token::PageToken;

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
    pub totals: Vec<CostTotal>,
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

/// The approximate size limit of a page: clients refuse messages of more than 4 MiB by default.
const PAGE_BYTES: usize = 2 << 20;

/// The end of a page that starts at a line.
fn page_end(lines: &[CostLine], start: usize, size: PageSize) -> usize {
    let mut bytes = 0;
    let mut end = start;
    for line in lines.iter().skip(start).take(size.get().into()) {
        let names = line.tenant_name.len() + line.plan.len() + 2 * line.meter.name.len() + line.meter.unit.len();
        // Fixed fields, also of an unpriced meter and of the tenant's month; then names and tiers.
        bytes += 768 + names + 256 * line.tiers.len();
        if bytes > PAGE_BYTES && end > start {
            break;
        }
        end += 1;
    }
    end
}

/// Why an organization has no such tenant: that of another one is out of its scope.
async fn hidden(store: &Store, scope: &TenantScope, request: &CostsRequest) -> Result<Hidden, ReportError> {
    let Some(tenant_id) = request.tenant_id else { return Ok(Hidden::Unknown) };
    let tenant = store.find_tenant(scope, tenant_id).await?.visible();
    Ok(tenant.map_or_else(|hidden| hidden, |_| Hidden::OutOfScope))
}

/// Computes what an organization owes.
///
/// # Errors
///
/// [`ReportError::PageTokenExpired`] if names or lines have changed since the previous page.
pub async fn get_costs(store: &Store, scope: &TenantScope, request: &CostsRequest) -> Result<Costs, ReportError> {
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
    let data = store.organization_costs(&organization, request.tenant_id, request.months, snapshot).await?;
    if request.tenant_id.is_some() && data.tenants.is_empty() {
        return Err(ReportError::TenantNotFound(hidden(store, scope, request).await?));
    }
    let currency = organization.currency();
    let lines = compute::lines(&data, &meters, currency)?;
    let totals = compute::totals(&lines, request.months, currency);

    let order = page_token::order_digest(&lines);
    let start = match &token {
        None => 0,
        Some(token) => token.offset(order).ok_or(ReportError::PageTokenExpired)?,
    };
    let end = page_end(&lines, start, request.page_size);
    let next_page_token =
        if end < lines.len() { PageToken::new(query, snapshot, order, end).seal() } else { String::new() };
    let lines: Vec<CostLine> = lines.into_iter().skip(start).take(end - start).collect();
    Ok(Costs {
        organization_id: organization.id(),
        currency,
        tenant_months: compute::tenant_months(&data, &lines),
        lines,
        totals,
        next_page_token,
    })
}
