//! Values of the model as messages of the contract.

use prost_types::Timestamp;

use super::proto;
use crate::model::{Month, UsageRecord, UtcTime};

impl From<UtcTime> for Timestamp {
    fn from(time: UtcTime) -> Self {
        let (seconds, nanos) = time.unix_seconds_and_nanos();
        Self { seconds, nanos }
    }
}

impl From<Month> for proto::YearMonth {
    fn from(month: Month) -> Self {
        Self { year: month.year(), month: month.number().cast_signed() }
    }
}

impl From<&UsageRecord> for proto::UsageRecord {
    fn from(record: &UsageRecord) -> Self {
        let dimensions = &record.dimensions;
        Self {
            organization_id: record.organization_id.to_string(),
            tenant_id: record.tenant_id.to_string(),
            asset_name: record.asset.name.clone(),
            asset_id: record.asset.id.clone(),
            asset_type: record.asset.asset_type.code().into(),
            meter_name: dimensions.meter.name.clone(),
            meter_id: dimensions.meter.id.to_string(),
            start: Some(dimensions.start.into()),
            end: Some(dimensions.end.into()),
            quantity: record.quantity.to_string(),
            billing_region: dimensions.billing_region.code().into(),
            platform: dimensions.platform.map_or(0, |platform| platform.code().into()),
            trial: dimensions.trial,
            trial_expiry: dimensions.trial_expiry.map(Into::into),
        }
    }
}
