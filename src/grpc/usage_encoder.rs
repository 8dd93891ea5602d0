//! Records as bytes of the contract, without messages in between.
//!
//! A record repeats what its tenant, its asset and its meter are, which is nine tenths of it. Each of these parts is
//! encoded once and copied from then on. What comes out is, byte for byte, what the generated code writes for the same
//! record; a test holds it to that.

use prost::Message as _;

use super::asset_cache::CurrentAssets;
use crate::{
    model::{Meter, OrganizationId, TenantId, UtcTime},
    proto,
    store::{MeterKey, RecordRow},
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
const TIMESTAMP_SECONDS: u8 = 1 << 3;
const TIMESTAMP_NANOS: u8 = 2 << 3;

/// Encodes the records of a report.
pub(crate) struct RecordEncoder {
    /// `organization_id` and `tenant_id`.
    tenant: Vec<u8>,
    assets: CurrentAssets,
    /// `meter_name` and `meter_id` of each.
    meters: Vec<(MeterKey, Vec<u8>)>,
}

// === impl RecordEncoder ===

impl RecordEncoder {
    pub(crate) fn new(organization_id: OrganizationId, tenant_id: TenantId, assets: CurrentAssets) -> Self {
        let tenant = proto::UsageRecord {
            organization_id: organization_id.to_string(),
            tenant_id: tenant_id.to_string(),
            ..Default::default()
        };
        Self { tenant: tenant.encode_to_vec(), assets, meters: Vec::new() }
    }

    /// Where the assets of records are to be put before they are encoded.
    pub(crate) fn assets(&mut self) -> &mut CurrentAssets {
        &mut self.assets
    }

    pub(crate) fn knows_meter(&self, key: MeterKey) -> bool {
        self.meters.iter().any(|(known, _)| *known == key)
    }

    pub(crate) fn add_meter(&mut self, key: MeterKey, meter: &Meter) {
        let part =
            proto::UsageRecord { meter_name: meter.name.clone(), meter_id: meter.id.to_string(), ..Default::default() };
        self.meters.push((key, part.encode_to_vec()));
    }

    /// Adds a record to the bytes of a message, as an element of its `records`. `false`: its asset or meter is not known,
    /// and nothing was added.
    pub(crate) fn encode(&mut self, row: &RecordRow, out: &mut Vec<u8>) -> bool {
        let Some(asset) = self.assets.get(row.asset) else { return false };
        let Some((_, meter)) = self.meters.iter().find(|(key, _)| *key == row.meter) else { return false };
        out.push(RECORDS);
        delimited(out, |out| {
            out.extend_from_slice(&self.tenant);
            out.extend_from_slice(asset);
            out.extend_from_slice(meter);
            put_time(START, row.start, out);
            put_time(END, row.end, out);
            out.push(QUANTITY);
            delimited(out, |out| row.quantity.write_to(out));
            out.push(BILLING_REGION);
            put_varint(row.billing_region.code().unsigned_abs().into(), out);
            if let Some(platform) = row.platform {
                out.push(PLATFORM);
                put_varint(platform.code().unsigned_abs().into(), out);
            }
            if row.trial {
                out.extend_from_slice(&[TRIAL, 1]);
            }
            if let Some(expiry) = row.trial_expiry {
                put_time(TRIAL_EXPIRY, expiry, out);
            }
        });
        true
    }
}

/// Writes what `write` writes, with its length before it. The length is known afterwards: one byte is set aside for it,
/// and what is longer is moved by the bytes that its length takes more.
fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out[start] = short;
        return;
    }
    let mut prefix = [0; 10];
    let prefix = varint(length as u64, &mut prefix);
    let more = prefix.len() - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start + 1..start + 1 + length, start + 1 + more);
    out[start..=start + more].copy_from_slice(prefix);
}

fn put_time(key: u8, time: UtcTime, out: &mut Vec<u8>) {
    let (seconds, nanos) = time.unix_seconds_and_nanos();
    out.push(key);
    delimited(out, |out| {
        // Zero is left out.
        if seconds != 0 {
            out.push(TIMESTAMP_SECONDS);
            put_varint(seconds.cast_unsigned(), out);
        }
        if nanos != 0 {
            out.push(TIMESTAMP_NANOS);
            put_varint(nanos.unsigned_abs().into(), out);
        }
    });
}

fn put_varint(value: u64, out: &mut Vec<u8>) {
    if let Ok(byte @ ..0x80) = u8::try_from(value) {
        return out.push(byte);
    }
    let mut bytes = [0; 10];
    out.extend_from_slice(varint(value, &mut bytes));
}

/// Seven bits a byte, the lowest first; all but the last have the highest bit set.
fn varint(mut value: u64, bytes: &mut [u8; 10]) -> &[u8] {
    let mut count = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[count] = if value == 0 { low } else { low | 0x80 };
        count += 1;
        if value == 0 {
            return &bytes[..count];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{UsageRecord, arbitrary},
        report::AssetBook as _,
        store::AssetKey,
    };

    /// The row that a record is stored as, with made-up keys.
    fn row(record: &UsageRecord, encoder: &mut RecordEncoder) -> RecordRow {
        let next = i64::try_from(encoder.meters.len()).expect("few");
        let (asset, meter) = (AssetKey::made_up(next), MeterKey::made_up(next));
        encoder.assets().put(vec![(asset, (*record.asset).clone())]);
        encoder.add_meter(meter, &record.meter);
        RecordRow {
            row_number: 1,
            asset,
            meter,
            start: record.start,
            end: record.end,
            quantity: record.quantity,
            billing_region: record.billing_region,
            platform: record.platform,
            trial: record.trial,
            trial_expiry: record.trial_expiry,
        }
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_generated_code(records in arbitrary::records()) {
            let first = &records[0];
            let mut encoder = RecordEncoder::new(first.organization_id, first.tenant_id, CurrentAssets::new(Arc::default(), first.tenant_id));
            let mut fast = Vec::new();
            for record in &records {
                let row = row(record, &mut encoder);
                prop_assert!(encoder.encode(&row, &mut fast));
            }
            let plain = proto::GetDetailedUsageResponse {
                records: records.iter().map(proto::UsageRecord::from).collect(),
                ..Default::default()
            };
            prop_assert_eq!(fast, plain.encode_to_vec());
        }
    }
}
