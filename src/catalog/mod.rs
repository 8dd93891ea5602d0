//! The catalog file: organizations, tenants, meters and price lists, declared.

mod draft;
mod file;
mod parse;
mod raw;

use std::fmt;

pub use draft::{MeterCharge, PriceListDraft};
pub use file::{CatalogFormat, read};
pub use raw::{RawPrice, RawTier};

use crate::model::{BillingRegion, Currency, MeterId, Month, OrganizationId, Pricing, TenantId, TenantStatus, UtcTime};

/// What a catalog file declares. Each entry is valid by itself, and there are no duplicates.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub organizations: Vec<Organization>,
    pub tenants: Vec<Tenant>,
    pub meters: Vec<Meter>,
    pub prices: Vec<Price>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
    pub currency: Currency,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub organization_id: OrganizationId,
    pub name: String,
    pub plan: String,
    pub status: TenantStatus,
    pub trial: bool,
    pub trial_expiry: Option<UtcTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    pub id: MeterId,
    pub name: String,
    pub unit: String,
    /// `false`: its usage is measured and shown, and costs nothing, whatever prices there are.
    pub charged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The meter's name.
    pub meter: String,
    /// The price applies to organizations that are billed in this currency.
    pub currency: Currency,
    /// `None`: every region that has no price of its own.
    pub billing_region: Option<BillingRegion>,
    /// The first month for which the price applies.
    pub effective_from: Month,
    pub pricing: Pricing,
}

/// A problem with an entry of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The entry and field, for instance `prices[3].tiers[1].up_to`.
    pub place: String,
    /// What is wrong, and how to correct it.
    pub reason: String,
}

/// A catalog cannot be applied. It lists every problem; nothing was changed.
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
