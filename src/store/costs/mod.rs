//! What costs are made of: what an organization's tenants have used in each month, added up.

mod compared;
mod late;
mod missing;
mod places;
mod reader;

use bigdecimal::BigDecimal;

use super::{MeterKey, tenants::TenantKey};
use crate::model::{Month, TenantId, UsageKey, UtcTime};

pub use compared::{AskedBill, ComparedBill, ComparedBills, ComparedPart, SidePart};
pub use late::LateMonth;
pub use missing::MissingDays;
pub use reader::{CostPart, CostPosition, CostReader};

/// A tenant of an organization, as a bill names it.
#[derive(Clone, Debug)]
pub struct CostTenant {
    pub key: TenantKey,
    pub id: TenantId,
    pub name: String,
    pub plan: String,
}

/// A tenant's month that a bill is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostMonth {
    pub month: Month,
    pub tenant: TenantKey,
    /// The revision of its detailed usage report.
    pub revision: [u8; 32],
    /// When its newest load was published.
    pub data_as_of: UtcTime,
}

/// What a tenant used in a month, for a meter, region and trial.
#[derive(Clone, Debug)]
pub struct MonthUsage {
    pub month: Month,
    pub tenant: TenantKey,
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    pub record_count: i64,
}
