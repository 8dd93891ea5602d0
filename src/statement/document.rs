//! What a statement consists of. Fields are in the order of the canonical form, by their names.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{canonical, text};
use crate::model::{
    BillingRegion, Currency, MeterId, Month, OrganizationId, RoundingMode, StatementNumber, TenantId, UtcTime,
};

/// The version of the document.
pub const VERSION: u32 = 1;

/// What a statement says of itself. Its canonical form is what is digested and signed; the digests of the lists are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    pub adjustment_count: u32,
    /// The sum of the amounts of the adjustments.
    #[serde(with = "text::money")]
    pub adjustment_total: BigDecimal,
    #[serde(with = "text::hex")]
    pub adjustments_digest: [u8; 32],
    #[serde(with = "text::plain")]
    pub billing_month: Month,
    /// When it was published.
    #[serde(with = "text::plain")]
    pub closed_at: UtcTime,
    pub closed_by: String,
    #[serde(with = "text::plain")]
    pub currency: Currency,
    /// It has all usage and prices that were published until then, and nothing later.
    #[serde(with = "text::plain")]
    pub horizon: UtcTime,
    pub line_count: u32,
    /// The sum of the costs of the lines.
    #[serde(with = "text::money")]
    pub line_total: BigDecimal,
    #[serde(with = "text::hex")]
    pub lines_digest: [u8; 32],
    #[serde(with = "text::plain")]
    pub number: StatementNumber,
    #[serde(with = "text::plain")]
    pub organization_id: OrganizationId,
    pub organization_name: String,
    /// The digest of the organization's statement before; `None`: it is the first.
    #[serde(with = "text::optional_hex")]
    pub previous_digest: Option<[u8; 32]>,
    pub report_count: u32,
    #[serde(with = "text::hex")]
    pub reports_digest: [u8; 32],
    /// What is owed: lines and adjustments.
    #[serde(with = "text::money")]
    pub total: BigDecimal,
    pub version: u32,
}

/// What a tenant owes for a meter in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    #[serde(with = "text::plain")]
    pub billing_region: BillingRegion,
    /// Rounded; `None`: no price covers the quantity.
    #[serde(with = "text::optional_money")]
    pub cost: Option<BigDecimal>,
    #[serde(with = "text::plain")]
    pub meter_id: MeterId,
    pub meter_name: String,
    /// Whether the meter is measured and not charged.
    pub not_charged: bool,
    pub plan: String,
    /// Billable.
    #[serde(with = "text::quantity")]
    pub quantity: BigDecimal,
    pub record_count: i64,
    /// That of the price, where there is one.
    #[serde(with = "text::optional")]
    pub rounding: Option<RoundingMode>,
    #[serde(with = "text::plain")]
    pub tenant_id: TenantId,
    pub tenant_name: String,
    pub tiers: Vec<Tier>,
    #[serde(with = "text::quantity")]
    pub trial_quantity: BigDecimal,
    pub unit: String,
}

/// The part of a quantity that falls into a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// Quantity times price, exact.
    #[serde(with = "text::quantity")]
    pub amount: BigDecimal,
    /// Exclusive.
    #[serde(with = "text::quantity")]
    pub from: BigDecimal,
    #[serde(with = "text::quantity")]
    pub quantity: BigDecimal,
    /// Inclusive; `None`: the last tier.
    #[serde(with = "text::optional_quantity")]
    pub to: Option<BigDecimal>,
    #[serde(with = "text::quantity")]
    pub unit_price: BigDecimal,
}

/// The difference between what a line of a closed month costs now and what statements have billed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adjustment {
    /// The cost less what was billed.
    #[serde(with = "text::money")]
    pub amount: BigDecimal,
    /// By statements before.
    #[serde(with = "text::money")]
    pub billed: BigDecimal,
    /// The line as it is now.
    pub line: Line,
    /// The revision of the report that the line comes from.
    #[serde(with = "text::hex")]
    pub revision: [u8; 32],
    #[serde(with = "text::plain")]
    pub usage_month: Month,
}

/// The detailed usage report of a tenant's month that lines come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// When its newest load was published.
    #[serde(with = "text::plain")]
    pub data_as_of: UtcTime,
    pub missing_days: Vec<MissingDays>,
    #[serde(with = "text::hex")]
    pub revision: [u8; 32],
    #[serde(with = "text::plain")]
    pub tenant_id: TenantId,
}

/// Days between the first and the last one of a source that it has not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MissingDays {
    /// In order.
    #[serde(with = "text::days")]
    pub days: Vec<NaiveDate>,
    pub source: String,
}

/// What has a canonical form.
macro_rules! canonical_form {
    ($($document:ident),+) => {
        $(impl $document {
            /// The canonical form (RFC 8785).
            pub fn canonical(&self) -> String {
                canonical(self)
            }
        })+
    };
}

canonical_form!(Head, Line, Adjustment, Report);

impl Head {
    /// What is signed: SHA-256 of the canonical form.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }
}
