//! Records of the contract as values of the model. What the contract does not allow is named, never guessed.

use std::{str::FromStr, sync::Arc};

use prost_types::Timestamp;

use super::ClientError;
use crate::{
    model::{Asset, AssetType, BillingRegion, Meter, Platform, UsageRecord, UtcTime},
    proto,
};

/// Reads records; assets and meters that repeat from record to record are made once.
#[derive(Default)]
pub(super) struct RecordReader {
    asset: Option<Arc<Asset>>,
    meter: Option<Arc<Meter>>,
}

impl RecordReader {
    pub(super) fn read(&mut self, record: proto::UsageRecord) -> Result<UsageRecord, ClientError> {
        Ok(UsageRecord {
            organization_id: parse("organization_id", &record.organization_id)?,
            tenant_id: parse("tenant_id", &record.tenant_id)?,
            meter: self.meter(&record)?,
            start: time("start", record.start)?.ok_or_else(|| malformed("start", "none"))?,
            end: time("end", record.end)?.ok_or_else(|| malformed("end", "none"))?,
            quantity: parse("quantity", &record.quantity)?,
            billing_region: region(record.billing_region)?,
            platform: match record.platform {
                0 => None,
                code => Some(Platform::from_code(code).ok_or_else(|| malformed("platform", code))?),
            },
            trial: record.trial,
            trial_expiry: time("trial_expiry", record.trial_expiry)?,
            asset: self.asset(record.asset_type, record.asset_id, record.asset_name)?,
        })
    }

    fn asset(&mut self, code: i32, id: String, name: String) -> Result<Arc<Asset>, ClientError> {
        let asset_type = AssetType::from_code(code).ok_or_else(|| malformed("asset_type", code))?;
        if let Some(asset) = &self.asset
            && (asset.asset_type, asset.id.as_str(), asset.name.as_str()) == (asset_type, &id, &name)
        {
            return Ok(Arc::clone(asset));
        }
        let asset = Arc::new(Asset { asset_type, id, name });
        self.asset = Some(Arc::clone(&asset));
        Ok(asset)
    }

    fn meter(&mut self, record: &proto::UsageRecord) -> Result<Arc<Meter>, ClientError> {
        let id = parse("meter_id", &record.meter_id)?;
        if let Some(meter) = &self.meter
            && meter.id == id
            && meter.name == record.meter_name
        {
            return Ok(Arc::clone(meter));
        }
        // Records do not tell the unit.
        let meter = Arc::new(Meter { id, name: record.meter_name.clone(), unit: String::new() });
        self.meter = Some(Arc::clone(&meter));
        Ok(meter)
    }
}

pub(super) fn region(code: i32) -> Result<BillingRegion, ClientError> {
    BillingRegion::from_code(code).ok_or_else(|| malformed("billing_region", code))
}

fn parse<T: FromStr>(field: &str, text: &str) -> Result<T, ClientError> {
    text.parse().map_err(|_| malformed(field, text))
}

fn time(field: &str, time: Option<Timestamp>) -> Result<Option<UtcTime>, ClientError> {
    let Some(time) = time else { return Ok(None) };
    let parsed = UtcTime::from_unix(time.seconds, time.nanos);
    parsed.map(Some).map_err(|_| malformed(field, time.seconds))
}

pub(super) fn malformed(field: &str, value: impl std::fmt::Debug) -> ClientError {
    ClientError::Malformed(format!("{field}: {value:?}"))
}
