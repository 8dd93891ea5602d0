//! Records as bytes of the contract, without messages in between.
//!
//! A record repeats what its tenant, its asset and its kind are, and only the quantity is its own. Each of these parts is
//! encoded once and copied from then on. What comes out is, byte for byte, what the generated code writes for the same
//! record; a test holds it to that.

use prost::Message as _;

use super::asset_cache::CurrentAssets;
use crate::{
    contract::proto,
    model::{Meter, OrganizationId, TenantId, UtcTime},
    store::{MeterKey, RecordKind, RecordRow},
};

// Keys of fields: number << 3 | wire type (Protocol Buffers' "Encoding").
const RECORDS: u8 = 2 << 3 | 2;
const START: u8 = 8 << 3 | 2;
const END: u8 = 9 << 3 | 2;
const QUANTITY: u8 = 10 << 3 | 2;
const BILLING_REGION: u8 = 11 << 3;
const PLATFORM: u8 = 12 << 3;
const TRIAL: u8 = 13 << 3;
const TRIAL_EXPIRY: u8 = 14 << 3 | 2;

/// Encodes the records of a report.
pub struct RecordEncoder {
    /// `organization_id` and `tenant_id`.
    tenant: Vec<u8>,
    assets: CurrentAssets,
    /// `meter_name` and `meter_id` of each.
    meters: Vec<(MeterKey, Vec<u8>)>,
    /// Those of the records that are to be encoded next.
    kinds: Vec<KindParts>,
    quantity: Vec<u8>,
}

/// What all records of a kind have, before and after the quantity.
struct KindParts {
    front: Vec<u8>,
    back: Vec<u8>,
}

// === impl RecordEncoder ===

impl RecordEncoder {
    pub fn new(organization_id: OrganizationId, tenant_id: TenantId, assets: CurrentAssets) -> Self {
        let tenant = proto::UsageRecord {
            organization_id: organization_id.to_string(),
            tenant_id: tenant_id.to_string(),
            ..Default::default()
        };
        Self { tenant: tenant.encode_to_vec(), assets, meters: Vec::new(), kinds: Vec::new(), quantity: Vec::new() }
    }

    /// Where the assets of records are to be put before they are encoded.
    pub fn assets(&mut self) -> &mut CurrentAssets {
        &mut self.assets
    }

    pub fn knows_meter(&self, key: MeterKey) -> bool {
        self.meters.iter().any(|(known, _)| *known == key)
    }

    pub fn add_meter(&mut self, key: MeterKey, meter: &Meter) {
        let part =
            proto::UsageRecord { meter_name: meter.name.clone(), meter_id: meter.id.to_string(), ..Default::default() };
        self.meters.push((key, part.encode_to_vec()));
    }

    /// Turns to records of these kinds. Their meters must be known.
    pub fn turn_to(&mut self, kinds: &[RecordKind]) {
        self.kinds.clear();
        for kind in kinds {
            let meter = self.meters.iter().find(|(key, _)| *key == kind.meter);
            let mut front = meter.map(|(_, meter)| meter.clone()).unwrap_or_default();
            put_time(START, kind.start, &mut front);
            put_time(END, kind.end, &mut front);
            front.push(QUANTITY);
            let mut back = vec![BILLING_REGION];
            put_varint(kind.billing_region.code().unsigned_abs().into(), &mut back);
            if let Some(platform) = kind.platform {
                back.push(PLATFORM);
                put_varint(platform.code().unsigned_abs().into(), &mut back);
            }
            if kind.trial {
                back.extend_from_slice(&[TRIAL, 1]);
            }
            if let Some(expiry) = kind.trial_expiry {
                put_time(TRIAL_EXPIRY, expiry, &mut back);
            }
            self.kinds.push(KindParts { front, back });
        }
    }

    /// Adds a record to the bytes of a message, as an element of its `records`. `false`: its asset or kind is not known, and
    /// nothing was added.
    pub fn encode(&mut self, row: &RecordRow, out: &mut Vec<u8>) -> bool {
        let Some(asset) = self.assets.get(row.asset) else { return false };
        let Some(KindParts { front, back }) = self.kinds.get(row.kind) else { return false };
        self.quantity.clear();
        row.quantity.write_to(&mut self.quantity);
        // At most 40 digits, whose length is one byte.
        let length = self.tenant.len() + asset.len() + front.len() + 1 + self.quantity.len() + back.len();
        out.push(RECORDS);
        put_varint(length as u64, out);
        out.extend_from_slice(&self.tenant);
        out.extend_from_slice(asset);
        out.extend_from_slice(front);
        put_varint(self.quantity.len() as u64, out);
        out.extend_from_slice(&self.quantity);
        out.extend_from_slice(back);
        true
    }
}

/// A time is a message within the record.
fn put_time(key: u8, time: UtcTime, out: &mut Vec<u8>) {
    let (seconds, nanos) = time.unix_seconds_and_nanos();
    let time = prost_types::Timestamp { seconds, nanos };
    out.push(key);
    put_varint(time.encoded_len() as u64, out);
    out.extend_from_slice(&time.encode_to_vec());
}

fn put_varint(value: u64, out: &mut Vec<u8>) {
    if let Ok(byte @ ..0x80) = u8::try_from(value) {
        return out.push(byte);
    }
    prost::encoding::encode_varint(value, out);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{UsageRecord, arbitrary},
        reports::AssetBook as _,
        store::AssetKey,
    };

    /// The row that a record is stored as, with made-up keys, and its kind.
    fn stored(record: &UsageRecord, encoder: &mut RecordEncoder) -> (RecordRow, RecordKind) {
        let next = i64::try_from(encoder.meters.len()).expect("few");
        let (asset, meter) = (AssetKey::from_number(next), MeterKey::from_number(next));
        encoder.assets().put(vec![(asset, (*record.asset).clone())]);
        encoder.add_meter(meter, &record.meter);
        let kind = RecordKind {
            meter,
            asset_type: record.asset.asset_type,
            start: record.start,
            end: record.end,
            billing_region: record.billing_region,
            platform: record.platform,
            trial: record.trial,
            trial_expiry: record.trial_expiry,
        };
        (RecordRow { row_number: 1, asset, kind: 0, quantity: record.quantity }, kind)
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_generated_code(records in arbitrary::records()) {
            let first = &records[0];
            let mut encoder = RecordEncoder::new(first.organization_id, first.tenant_id, CurrentAssets::new(Arc::default(), first.tenant_id));
            let mut fast = Vec::new();
            let (mut rows, mut kinds) = (Vec::new(), Vec::new());
            for record in &records {
                let (row, kind) = stored(record, &mut encoder);
                rows.push(RecordRow { kind: kinds.len(), ..row });
                kinds.push(kind);
            }
            encoder.turn_to(&kinds);
            for row in &rows {
                prop_assert!(encoder.encode(row, &mut fast));
            }
            let plain = proto::GetDetailedUsageResponse {
                records: records.iter().map(proto::UsageRecord::from).collect(),
                ..Default::default()
            };
            prop_assert_eq!(fast, plain.encode_to_vec());
        }
    }
}
