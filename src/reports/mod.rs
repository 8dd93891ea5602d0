//! What the reports are: the tenants that one may see, what they used, and what that costs.

mod blocks;
mod breakdown;
mod costs;
mod error;
mod manifest;
mod meters;
mod page;
mod rating;
mod shares;
mod tenants;
mod token;
mod usage;

pub use blocks::GIVE_UP_AFTER;
pub use breakdown::{Breakdown, BreakdownChunk, BreakdownHeader, BreakdownRequest, CostShare, GroupBudget};
pub use costs::{CostLine, CostTotal, CostTotals, Costs, CostsRequest, TenantMonth, get_costs};
pub use error::{InvalidField, ReportError};
pub use manifest::Revision;
pub use page::{InvalidPageSize, PageSize};
pub use rating::{RatedTier, Rating, rate};
pub use tenants::{Tenants, TenantsRequest, list_tenants};
pub use usage::{UsageChunk, UsageHeader, UsageReport, UsageRequest, UsageTotal};
