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

/// Which costs.
#[derive(Clone, Debug)]
pub struct CostsRequest {
    /// Whose costs.
    pub organization_id: OrganizationId,
    /// Of this tenant only.
    pub tenant_id: Option<TenantId>,
    /// Of which months.
    pub months: MonthRange,
    /// By the usage and prices as they stood then; `None`: as they stand now.
    pub as_of: Option<UtcTime>,
    /// How many lines at most.
    pub page_size: PageSize,
    /// Where the page before ended; empty: the first page.
    pub page_token: String,
}

/// A page of costs.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Whose costs.
    pub organization_id: OrganizationId,
    /// What they are in.
    pub currency: Currency,
    /// The lines, by month, tenant name, tenant id, meter name and region.
    pub lines: Vec<CostLine>,
    /// The sum of the lines of each month, over all pages.
    pub totals: Vec<CostTotal>,
    /// The reports that the lines come from.
    pub tenant_months: Vec<TenantMonth>,
    /// Asks for the next page; empty on the last one.
    pub next_page_token: String,
}

/// What a tenant owes for a meter in a region and month.
#[derive(Clone, Debug)]
pub struct CostLine {
    /// The month.
    pub month: Month,
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub tenant_name: String,
    /// Its plan.
    pub plan: String,
    /// The meter.
    pub meter: std::sync::Arc<Meter>,
    /// The region.
    pub billing_region: BillingRegion,
    /// The exact billable quantity.
    pub quantity: BigDecimal,
    /// The exact quantity under trial.
    pub trial_quantity: BigDecimal,
    /// The slices by the tiers of the price.
    pub tiers: Vec<RatedTier>,
    /// The cost, rounded; `None` where no price covers the quantity.
    pub cost: Option<BigDecimal>,
    /// How many records it adds up.
    pub record_count: i64,
}

/// What is owed for a month.
#[derive(Clone, Debug)]
pub struct CostTotal {
    /// The month.
    pub month: Month,
    /// The sum of its lines' costs.
    pub cost: BigDecimal,
}

/// The report of a tenant's month.
#[derive(Clone, Debug)]
pub struct TenantMonth {
    /// The month.
    pub month: Month,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The revision of its detailed usage report.
    pub revision: Revision,
    /// When its newest load was published.
    pub data_as_of: Option<UtcTime>,
}

/// About how many bytes a page has at most: clients refuse messages of more than 4 MiB by default.
const PAGE_BYTES: usize = 2 << 20;

/// How far a page reaches that starts at a line.
fn page_end(lines: &[CostLine], start: usize, size: PageSize) -> usize {
    let mut bytes = 0;
    let mut end = start;
    for line in lines.iter().skip(start).take(size.get().into()) {
        let names = line.tenant_name.len() + line.plan.len() + 2 * line.meter.name.len() + line.meter.unit.len();
        // Ids, months and numbers, those of an unpriced meter and of the tenant's month too; then each tier.
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
pub async fn get_costs(store: &Store, scope: &TenantScope, request: &CostsRequest) -> Result<Costs, ReportError> {
    let query = PageToken::query(request);
    let token = PageToken::open(&request.page_token, query)?;
    let snapshot = async {
        match &token {
            Some(token) => manifest::snapshot_of_token(store, token.snapshot()).await,
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
