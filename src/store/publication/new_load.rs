//! Loads and records to publish.

use std::sync::Arc;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use crate::{
    model::{Asset, Decimal, LoadDigest, Month, RecordDimensions, UsageKey},
    store::{MeterKey, TenantKey},
};

/// What loads of one source supersede each other by: a tenant's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadKey {
    pub tenant: TenantKey,
    /// The UTC day.
    pub usage_day: NaiveDate,
}

/// A load to publish, with what its records add up to.
#[derive(Clone, Debug)]
pub struct NewLoad {
    /// Whose usage of which day.
    pub key: LoadKey,
    pub month: Month,
    pub digest: LoadDigest,
    pub record_count: i32,
    /// What they add up to.
    pub totals: Vec<NewTotal>,
}

/// A sum over the records of a load.
#[derive(Clone, Debug)]
pub struct NewTotal {
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    pub record_count: i32,
}

#[derive(Clone, Debug)]
pub struct RecordToWrite {
    /// The position of its load among those to publish.
    pub load: usize,
    /// Position in the load: 1, 2, 3, ...
    pub row_number: i32,
    /// What generated it.
    pub asset: Arc<Asset>,
    pub dimensions: RecordDimensions<MeterKey>,
    pub quantity: Decimal,
}
