//! The catalog file: organizations, tenants, meters and price lists, declared.

mod file;
mod parse;
mod raw;

use std::fmt;

pub use file::{CatalogFormat, read};

use crate::model::{BillingRegion, Currency, Meter, Month, OrganizationId, Pricing, TenantId, TenantStatus, UtcTime};

/// What a catalog file declares; each entry is sound by itself and none is there twice.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The organizations.
    pub organizations: Vec<Organization>,
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// The meters.
    pub meters: Vec<Meter>,
    /// The prices.
    pub prices: Vec<Price>,
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// The GUID.
    pub id: OrganizationId,
    /// The name.
    pub name: String,
    /// What it is billed in.
    pub currency: Currency,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The GUID.
    pub id: TenantId,
    /// Whose tenant.
    pub organization_id: OrganizationId,
    /// The name.
    pub name: String,
    /// The plan.
    pub plan: String,
    /// The state.
    pub status: TenantStatus,
    /// Whether it is on trial.
    pub trial: bool,
    /// When the trial expires or expired.
    pub trial_expiry: Option<UtcTime>,
}

/// A price of a meter.
#[derive(Clone, Debug)]
pub struct Price {
    /// The meter's name.
    pub meter: String,
    /// For organizations of this currency.
    pub currency: Currency,
    /// In this region; `None`: in every region without a price of its own.
    pub billing_region: Option<BillingRegion>,
    /// From this month on.
    pub effective_from: Month,
    pub pricing: Pricing,
}

/// Something in a catalog that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The entry and field, for instance `prices[3].tiers[1].up_to`.
    pub place: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// A catalog cannot be applied. Every problem that was found is named, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidCatalog(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.place, self.reason) }
    }
}

impl fmt::Display for InvalidCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        for (index, problem) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, "\n... and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}
