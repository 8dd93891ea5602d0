//! A row of the detailed report.

use std::{fmt, str::FromStr, sync::Arc};

use super::{AssetType, BillingRegion, Decimal, MeterId, OrganizationId, Platform, TenantId, UtcTime};

/// The longest asset id, in bytes of UTF-8.
pub const MAX_ASSET_ID_BYTES: usize = 512;
/// The longest asset name, in bytes of UTF-8. With the id it fits an index row of PostgreSQL (2704 bytes).
pub const MAX_ASSET_NAME_BYTES: usize = 1024;

/// What one meter measured for one asset in one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// What generated the usage.
    pub asset: Arc<Asset>,
    /// What was measured.
    pub meter: Arc<Meter>,
    /// The first moment of the period.
    pub start: UtcTime,
    /// The first moment after the period.
    pub end: UtcTime,
    /// How much, in the meter's unit.
    pub quantity: Decimal,
    /// Where it is billed.
    pub billing_region: BillingRegion,
    /// The hosting platform, for bandwidth meters.
    pub platform: Option<Platform>,
    /// Whether the asset was under a trial period.
    pub trial: bool,
    /// When the trial expires or expired.
    pub trial_expiry: Option<UtcTime>,
}

/// Something that generates usage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset {
    /// What kind of thing.
    pub asset_type: AssetType,
    /// Identifies it within its type and tenant.
    pub id: String,
    /// Free text.
    pub name: String,
}

/// What is measured. Meters are named per plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meter {
    /// The GUID.
    pub id: MeterId,
    /// For instance `bandwidth_gib_essentials`.
    pub name: String,
    /// For instance `GiB`.
    pub unit: String,
}

/// What usage is added up by: the lines of a bill. Ordered as summaries and bills are, once the meter's name stands
/// for the meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey<M> {
    /// The meter, by whatever names it here.
    pub meter: M,
    /// Where it is billed.
    pub billing_region: BillingRegion,
    /// Whether it is trial usage.
    pub trial: bool,
}

/// Who delivers usage: 1 to 64 bytes of letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(String);

/// A text cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// It must not be empty.
    #[error("must not be empty")]
    Empty,
    /// It is too long.
    #[error("has {bytes} bytes; at most {max} can be kept")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// PostgreSQL keeps no NUL in a text.
    #[error("holds a NUL character")]
    Nul,
    /// It has characters that it may not have.
    #[error("may hold only letters, digits, '.', '_' and '-'")]
    Characters,
}

// === impl Meter ===

impl Meter {
    /// Whether a platform may be given for its usage. Bandwidth meters are named so.
    pub fn is_bandwidth(&self) -> bool {
        self.name.starts_with("bandwidth_")
    }
}

/// Checks a text of free content. `min` is 0 or 1 byte.
pub fn checked_text(text: &str, min: usize, max: usize) -> Result<&str, InvalidText> {
    if text.len() < min {
        return Err(InvalidText::Empty);
    }
    if text.len() > max {
        return Err(InvalidText::TooLong { bytes: text.len(), max });
    }
    if text.contains('\0') {
        return Err(InvalidText::Nul);
    }
    Ok(text)
}

// === impl Source ===

impl Source {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The source where none is named.
impl Default for Source {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Source {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let text = checked_text(text, 1, 64)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(InvalidText::Characters);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
