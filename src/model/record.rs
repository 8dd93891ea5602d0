//! A row of the detailed report.

use std::{fmt, str::FromStr, sync::Arc};

use super::{AssetType, BillingRegion, Column, Decimal, MeterId, OrganizationId, Platform, TenantId, UtcTime, Value};

/// What one meter measured for one asset in one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    pub organization_id: OrganizationId,
    pub tenant_id: TenantId,
    pub asset: Arc<Asset>,
    pub dimensions: RecordDimensions<Arc<Meter>>,
    /// In the meter's unit.
    pub quantity: Decimal,
}

/// What a record is beside its asset and its amount. Records that follow each other share few of these. `M` is the meter, by
/// whatever names it where the record is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordDimensions<M> {
    pub meter: M,
    /// The first moment of the period.
    pub start: UtcTime,
    /// The first moment after the period.
    pub end: UtcTime,
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
    pub asset_type: AssetType,
    /// Identifies it within its type and tenant.
    pub id: String,
    pub name: String,
}

/// What is measured. Meters are named per plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meter {
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
    pub meter: M,
    pub billing_region: BillingRegion,
    pub trial: bool,
}

/// Who delivers usage: 1 to 64 bytes of letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(String);

/// A text is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("must not be empty")]
    Empty,
    #[error("has {bytes} bytes; the maximum is {max}")]
    TooLong { bytes: usize, max: usize },
    /// PostgreSQL cannot store NUL in a text.
    #[error("contains a NUL character")]
    Nul,
    #[error("may contain only letters, digits, '.', '_' and '-'")]
    Characters,
}

// === impl UsageRecord ===

impl UsageRecord {
    /// A value for each [`Column`](super::Column), in the report's order.
    pub fn values(&self) -> [Value<'_>; Column::COUNT] {
        let [organization_id, tenant_id] = tenant_values(self.organization_id, self.tenant_id);
        let [asset_name, asset_id, asset_type] = self.asset.values();
        let [meter_name, meter_id] = self.dimensions.meter.values();
        let [start, end] = self.dimensions.period();
        let [billing_region, platform, trial, trial_expiry] = self.dimensions.attributes();
        [
            organization_id,
            tenant_id,
            asset_name,
            asset_id,
            asset_type,
            meter_name,
            meter_id,
            start,
            end,
            Value::Decimal(self.quantity),
            billing_region,
            platform,
            trial,
            trial_expiry,
        ]
    }
}

/// The values of [`Part::Tenant`](super::Part).
pub fn tenant_values(organization_id: OrganizationId, tenant_id: TenantId) -> [Value<'static>; 2] {
    [Value::Guid(organization_id.as_uuid()), Value::Guid(tenant_id.as_uuid())]
}

// === impl RecordDimensions ===

impl<M> RecordDimensions<M> {
    /// Those of billable usage, with all that is optional unset.
    pub fn new(meter: M, start: UtcTime, end: UtcTime, billing_region: BillingRegion) -> Self {
        Self { meter, start, end, billing_region, platform: None, trial: false, trial_expiry: None }
    }

    /// The values of [`Part::Period`](super::Part).
    pub fn period(&self) -> [Value<'_>; 2] {
        [Value::Time(self.start), Value::Time(self.end)]
    }

    /// The values of [`Part::Attributes`](super::Part).
    pub fn attributes(&self) -> [Value<'_>; 4] {
        [
            self.billing_region.value(),
            self.platform.map_or(Value::Unset, Platform::value),
            Value::Flag(self.trial),
            self.trial_expiry.map_or(Value::Unset, Value::Time),
        ]
    }

    /// Replaces the meter.
    pub fn with_meter<N>(self, meter: N) -> RecordDimensions<N> {
        let Self { meter: _, start, end, billing_region, platform, trial, trial_expiry } = self;
        RecordDimensions { meter, start, end, billing_region, platform, trial, trial_expiry }
    }

    /// The key that the record is added up by.
    pub fn usage_key(&self) -> UsageKey<&M> {
        UsageKey { meter: &self.meter, billing_region: self.billing_region, trial: self.trial }
    }
}

// === impl Asset ===

impl Asset {
    /// The values of [`Part::Asset`](super::Part).
    pub fn values(&self) -> [Value<'_>; 3] {
        asset_values(self.asset_type, &self.id, &self.name)
    }
}

/// The values of [`Part::Asset`](super::Part).
pub fn asset_values<'a>(asset_type: AssetType, id: &'a str, name: &'a str) -> [Value<'a>; 3] {
    [Value::Text(name), Value::Text(id), asset_type.value()]
}

// === impl Meter ===

impl Meter {
    /// The values of [`Part::Meter`](super::Part).
    pub fn values(&self) -> [Value<'_>; 2] {
        [Value::Text(&self.name), Value::Guid(self.id.as_uuid())]
    }

    /// Whether a platform may be given for its usage. Bandwidth meters are named so.
    pub fn is_bandwidth(&self) -> bool {
        self.name.starts_with("bandwidth_")
    }
}

/// Checks a free text. `min` is 0 or 1 byte.
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
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The source of a delivery that names none.
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
