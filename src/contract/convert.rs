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
        Self {
            organization_id: record.organization_id.to_string(),
            tenant_id: record.tenant_id.to_string(),
            asset_name: record.asset.name.clone(),
            asset_id: record.asset.id.clone(),
            asset_type: record.asset.asset_type.code().into(),
            meter_name: record.meter.name.clone(),
            meter_id: record.meter.id.to_string(),
            start: Some(record.start.into()),
            end: Some(record.end.into()),
            quantity: record.quantity.to_string(),
            billing_region: record.billing_region.code().into(),
            platform: record.platform.map_or(0, |platform| platform.code().into()),
            trial: record.trial,
            trial_expiry: record.trial_expiry.map(Into::into),
        }
    }
}
