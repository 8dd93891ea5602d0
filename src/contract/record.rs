//! Converts records of the contract to values of the model.

use std::{str::FromStr, sync::Arc};

use prost_types::Timestamp;

use super::proto;
use crate::model::{Asset, AssetType, BillingRegion, Meter, Platform, RecordDimensions, UsageRecord, UtcTime};

/// A message violates the contract: the field and its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMessage(pub String);

/// Reads records. Consecutive records share their asset and meter.
#[derive(Default)]
pub struct RecordReader {
    asset: Option<Arc<Asset>>,
    meter: Option<Arc<Meter>>,
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

impl RecordReader {
    pub fn read(&mut self, record: proto::UsageRecord) -> Result<UsageRecord, InvalidMessage> {
        Ok(UsageRecord {
            organization_id: parse("organization_id", &record.organization_id)?,
            tenant_id: parse("tenant_id", &record.tenant_id)?,
            dimensions: RecordDimensions {
                meter: self.meter(&record)?,
                start: time("start", record.start)?.ok_or_else(|| InvalidMessage::new("start", "none"))?,
                end: time("end", record.end)?.ok_or_else(|| InvalidMessage::new("end", "none"))?,
                billing_region: billing_region(record.billing_region)?,
                platform: match record.platform {
                    0 => None,
                    code => Some(Platform::from_code(code).ok_or_else(|| InvalidMessage::new("platform", code))?),
                },
                trial: record.trial,
                trial_expiry: time("trial_expiry", record.trial_expiry)?,
            },
            quantity: parse("quantity", &record.quantity)?,
            asset: self.asset(record.asset_type, record.asset_id, record.asset_name)?,
        })
    }

    fn asset(&mut self, code: i32, id: String, name: String) -> Result<Arc<Asset>, InvalidMessage> {
        let asset_type = AssetType::from_code(code).ok_or_else(|| InvalidMessage::new("asset_type", code))?;
        if let Some(asset) = &self.asset
            && (asset.asset_type, asset.id.as_str(), asset.name.as_str()) == (asset_type, &id, &name)
        {
            return Ok(Arc::clone(asset));
        }
        let asset = Arc::new(Asset { asset_type, id, name });
        self.asset = Some(Arc::clone(&asset));
        Ok(asset)
    }

    fn meter(&mut self, record: &proto::UsageRecord) -> Result<Arc<Meter>, InvalidMessage> {
        let id = parse("meter_id", &record.meter_id)?;
        if let Some(meter) = &self.meter
            && meter.id == id
            && meter.name == record.meter_name
        {
            return Ok(Arc::clone(meter));
        }
        // Records do not contain the unit.
        let meter = Arc::new(Meter { id, name: record.meter_name.clone(), unit: String::new() });
        self.meter = Some(Arc::clone(&meter));
        Ok(meter)
    }
}

pub(crate) fn billing_region(code: i32) -> Result<BillingRegion, InvalidMessage> {
    BillingRegion::from_code(code).ok_or_else(|| InvalidMessage::new("billing_region", code))
}

fn parse<T: FromStr>(field: &str, text: &str) -> Result<T, InvalidMessage> {
    text.parse().map_err(|_| InvalidMessage::new(field, text))
}

fn time(field: &str, time: Option<Timestamp>) -> Result<Option<UtcTime>, InvalidMessage> {
    let Some(time) = time else { return Ok(None) };
    let parsed = UtcTime::from_unix(time.seconds, time.nanos);
    parsed.map(Some).map_err(|_| InvalidMessage::new(field, time.seconds))
}

impl InvalidMessage {
    pub(crate) fn new(field: &str, value: impl std::fmt::Debug) -> Self {
        Self(format!("{field}: {value:?}"))
    }
}
