//! Records as bytes of the contract, without messages in between.
//!
//! A record repeats what its tenant, its asset and its dimensions are, and only the quantity is its own. Each of these parts is
//! encoded once and copied from then on. What comes out is, byte for byte, what the generated code writes for the same
//! record; a test holds it to that.

use super::asset_cache::CurrentAssets;
use crate::{
    contract::{LENGTH_DELIMITED, RECORDS, put_key, put_part, put_varint},
    model::{Column, Meter, OrganizationId, Part, TenantId, tenant_values},
    store::{MeterKey, RecordRow, StoredDimensions},
};

/// Encodes the records of a report.
pub struct RecordEncoder {
    /// The fields of [`Part::Tenant`].
    tenant: Vec<u8>,
    assets: CurrentAssets,
    /// The fields of [`Part::Meter`] of each.
    meters: Vec<(MeterKey, Vec<u8>)>,
    /// Those of the records that are to be encoded next.
    dimensions: Vec<EncodedDimensions>,
    quantity: Vec<u8>,
}

/// What records of the same dimensions have before and after the quantity.
struct EncodedDimensions {
    front: Vec<u8>,
    back: Vec<u8>,
}

// === impl RecordEncoder ===

impl RecordEncoder {
    pub fn new(organization_id: OrganizationId, tenant_id: TenantId, assets: CurrentAssets) -> Self {
        let mut tenant = Vec::new();
        put_part(Part::Tenant, &tenant_values(organization_id, tenant_id), &mut tenant);
        Self { tenant, assets, meters: Vec::new(), dimensions: Vec::new(), quantity: Vec::new() }
    }

    /// Where the assets of records are to be put before they are encoded.
    pub fn assets(&mut self) -> &mut CurrentAssets {
        &mut self.assets
    }

    pub fn knows_meter(&self, key: MeterKey) -> bool {
        self.meters.iter().any(|(known, _)| *known == key)
    }

    pub fn add_meter(&mut self, key: MeterKey, meter: &Meter) {
        let mut encoded = Vec::new();
        put_part(Part::Meter, &meter.values(), &mut encoded);
        self.meters.push((key, encoded));
    }

    /// Prepares for records of these dimensions. Their meters must be known.
    pub fn prepare(&mut self, dimensions: &[StoredDimensions]) {
        self.dimensions.clear();
        for StoredDimensions { dimensions, .. } in dimensions {
            let meter = self.meters.iter().find(|(key, _)| *key == dimensions.meter);
            let mut front = meter.map(|(_, meter)| meter.clone()).unwrap_or_default();
            put_part(Part::Period, &dimensions.period(), &mut front);
            let mut back = Vec::new();
            put_part(Part::Attributes, &dimensions.attributes(), &mut back);
            self.dimensions.push(EncodedDimensions { front, back });
        }
    }

    /// What records of their dimensions have in common, without the asset.
    pub(super) fn put_common(&self, dimensions: usize, out: &mut Vec<u8>) -> Option<()> {
        let EncodedDimensions { front, back } = self.dimensions.get(dimensions)?;
        [&self.tenant, front, back].into_iter().for_each(|part| out.extend_from_slice(part));
        Some(())
    }

    /// Adds a record to the bytes of a message, as an element of its `records`. `false`: its asset or its dimensions are not known, and
    /// nothing was added.
    pub fn encode(&mut self, row: &RecordRow, out: &mut Vec<u8>) -> bool {
        let Some(asset) = self.assets.get(row.asset) else { return false };
        let Some(EncodedDimensions { front, back }) = self.dimensions.get(row.dimensions) else { return false };
        self.quantity.clear();
        row.quantity.write_to(&mut self.quantity);
        // At most 40 digits, whose length is one byte.
        let length = self.tenant.len() + asset.len() + front.len() + 2 + self.quantity.len() + back.len();
        put_varint((RECORDS << 3 | LENGTH_DELIMITED).into(), out);
        put_varint(length as u64, out);
        out.extend_from_slice(&self.tenant);
        out.extend_from_slice(asset);
        out.extend_from_slice(front);
        put_key(Column::Quantity, out);
        put_varint(self.quantity.len() as u64, out);
        out.extend_from_slice(&self.quantity);
        out.extend_from_slice(back);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::{
        contract::proto,
        model::{UsageRecord, arbitrary},
        store::AssetKey,
    };

    /// The row that a record is stored as, with keys that follow each other, and its dimensions.
    fn stored(record: &UsageRecord, encoder: &mut RecordEncoder) -> (RecordRow, StoredDimensions) {
        let next = i64::try_from(encoder.meters.len()).expect("few");
        let (asset, meter) = (AssetKey::from_number(next), MeterKey::from_number(next));
        encoder.assets().put(vec![(asset, (*record.asset).clone())]);
        encoder.add_meter(meter, &record.dimensions.meter);
        let dimensions = record.dimensions.clone().with_meter(meter);
        let stored = StoredDimensions { asset_type: record.asset.asset_type, dimensions };
        (RecordRow { row_number: 1, asset, dimensions: 0, quantity: record.quantity }, stored)
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_generated_code(records in arbitrary::records()) {
            let first = &records[0];
            let assets = CurrentAssets::new(Arc::default(), first.tenant_id);
            let mut encoder = RecordEncoder::new(first.organization_id, first.tenant_id, assets);
            let mut fast = Vec::new();
            let (mut rows, mut dimensions) = (Vec::new(), Vec::new());
            for record in &records {
                let (row, stored) = stored(record, &mut encoder);
                rows.push(RecordRow { dimensions: dimensions.len(), ..row });
                dimensions.push(stored);
            }
            encoder.prepare(&dimensions);
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
