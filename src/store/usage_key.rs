//! What usage is added up by, as the database has it.

use tokio_postgres::Row;

use super::{MeterKey, StoreError};
use crate::model::{BillingRegion, UsageKey};

pub(super) fn usage_key(row: &Row) -> Result<UsageKey<MeterKey>, StoreError> {
    Ok(UsageKey {
        meter: MeterKey(row.try_get("meter_key")?),
        billing_region: billing_region(row.try_get("billing_region")?)?,
        trial: row.try_get("trial")?,
    })
}

pub(super) fn billing_region(code: i16) -> Result<BillingRegion, StoreError> {
    BillingRegion::from_code(code.into())
        .ok_or_else(|| StoreError::corrupt(format!("there is no billing region {code}")))
}
