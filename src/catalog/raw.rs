//! A catalog as it is written, before its entries are checked.

use serde::Deserialize;

/// The file as written; unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCatalog {
    pub(super) organizations: Vec<RawOrganization>,
    pub(super) tenants: Vec<RawTenant>,
    pub(super) meters: Vec<RawMeter>,
    pub(super) prices: Vec<RawPrice>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOrganization {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) currency: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTenant {
    pub(super) id: String,
    pub(super) organization_id: String,
    pub(super) name: String,
    pub(super) plan: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) trial: bool,
    pub(super) trial_expiry: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMeter {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) unit: String,
    #[serde(default = "charged")]
    pub(super) charged: bool,
}

fn charged() -> bool {
    true
}

/// A price as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPrice {
    pub meter: String,
    pub currency: String,
    pub billing_region: Option<String>,
    pub effective_from: String,
    pub pricing_model: Option<String>,
    pub rounding: Option<String>,
    pub tiers: Vec<RawTier>,
}

/// A tier as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTier {
    pub up_to: Option<String>,
    pub unit_price: String,
}
