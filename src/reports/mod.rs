//! What the reports are: the tenants that one may see, what they used, and what that costs, by which prices.

mod blocks;
mod breakdown;
mod compare;
mod costs;
mod error;
mod focus;
mod largest;
mod loads;
mod manifest;
mod meters;
mod organizations;
mod page;
mod preview;
mod price_in_force;
mod prices;
mod rating;
mod shares;
mod statements;
mod tenants;
mod ticket;
mod token;
mod usage;

pub use blocks::GIVE_UP_AFTER;
pub use breakdown::{Breakdown, BreakdownChunk, BreakdownHeader, BreakdownRequest, CostShare, GroupBudget};
pub use compare::{
    AssetsLeftOut, BillRequest, CompareRequest, ComparedLine, ComparedSide, Comparison, ComparisonHeader,
    ComparisonKind, ComparisonSummary, Effects, MovedAsset,
};
pub(crate) use costs::{Adjustments, compute, document};
pub use costs::{
    BillState, CostAdjustment, CostBasis, CostLine, CostPages, CostTotal, CostTotals, Costs, CostsRequest, TenantMonth,
    get_costs,
};
pub use error::{InvalidField, ReportError};
pub use focus::{
    ChargeKind, FocusCharge, FocusGaps, FocusHeader, FocusOutline, FocusProvider, FocusReader, FocusRequest,
    PricedQuantity, SERVICE_NAME,
};
pub use loads::{Loads, LoadsRequest, list_loads};
pub use manifest::{Revision, current_moment};
pub use organizations::{Organizations, OrganizationsRequest, list_organizations};
pub use page::{InvalidPageSize, PageSize};
pub use preview::{MovedLine, MovedMonth, Preview};
pub use prices::{MeterPrice, PriceInForce, Prices, PricesRequest, list_prices};
pub use rating::{RatedTier, Rating, rate};
pub use statements::{StatementPart, StatementReader, Statements, StatementsRequest, list_statements};
pub use tenants::{TenantUsage, Tenants, TenantsRequest, get_tenant, list_tenants};
pub use ticket::{CostForms, Ticket};
pub use usage::{UsageChunk, UsageHeader, UsageOutline, UsageReport, UsageRequest, UsageSlice, UsageTotal};
