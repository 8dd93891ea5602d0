//! Records without what they repeat, read field by field.

use super::ClientError;
use crate::{
    contract::{
        Fields, MAX_PACKED_RECORDS, PACKED_ASSET_INDEXES, PACKED_ASSETS, PACKED_DIMENSION_INDEXES, PACKED_DIMENSIONS,
        PACKED_QUANTITIES, WireValue,
    },
    model::Column,
};

/// A part is read once for each record where it is not as usual, so it may not be long. The longest of today have 1600 bytes.
const MAX_PART_BYTES: usize = 4 << 10;

/// A message of `PackedRecords`. All of its indexes are in range.
pub(super) struct PackedRecords<'a> {
    /// Encoded, as the next ones.
    pub(super) assets: Vec<&'a [u8]>,
    pub(super) dimensions: Vec<&'a [u8]>,
    records: Vec<PackedRecord<'a>>,
}

/// A record: the positions of its asset and its dimensions, and its quantity.
#[derive(Clone, Copy)]
pub(super) struct PackedRecord<'a> {
    pub(super) asset: usize,
    pub(super) dimensions: usize,
    pub(super) quantity: &'a [u8],
}

// === impl PackedRecords ===

impl<'a> PackedRecords<'a> {
    /// # Errors
    ///
    /// It is not of the contract. A message of a few bytes must not become many records.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, ClientError> {
        let malformed = |what: &str| ClientError::Malformed(format!("packed_records: {what}"));
        let (mut assets, mut dimensions, mut quantities) = (Vec::new(), Vec::new(), Vec::new());
        let (mut asset_indexes, mut dimension_indexes): (&[u8], &[u8]) = (&[], &[]);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next() {
            match (number, value) {
                (PACKED_ASSETS, WireValue::Bytes(asset)) => assets.push(asset),
                (PACKED_DIMENSIONS, WireValue::Bytes(common)) => dimensions.push(common),
                (PACKED_QUANTITIES, WireValue::Bytes(quantity)) => quantities.push(quantity),
                (PACKED_ASSET_INDEXES, WireValue::Bytes(indexes)) if asset_indexes.is_empty() => {
                    asset_indexes = indexes;
                }
                (PACKED_DIMENSION_INDEXES, WireValue::Bytes(indexes)) if dimension_indexes.is_empty() => {
                    dimension_indexes = indexes;
                }
                (PACKED_ASSET_INDEXES | PACKED_DIMENSION_INDEXES, _) => return Err(malformed("indexes in pieces")),
                _ => {}
            }
            if matches!(number, PACKED_ASSETS | PACKED_DIMENSIONS)
                && matches!(value, WireValue::Bytes(part) if part.len() > MAX_PART_BYTES)
            {
                return Err(malformed("a part of more than 4 KiB"));
            }
            if assets.len().max(dimensions.len()).max(quantities.len()) > MAX_PACKED_RECORDS {
                return Err(malformed("too many"));
            }
        }
        if !fields.rest.is_empty() {
            return Err(malformed("cut short"));
        }
        let mut indexes = (Fields::new(asset_indexes), Fields::new(dimension_indexes));
        let mut records = Vec::with_capacity(quantities.len());
        for quantity in quantities {
            let next = (indexes.0.next_number(), indexes.1.next_number());
            let (Some(asset), Some(of)) = next else { return Err(malformed("fewer indexes than quantities")) };
            let (asset, of) = (usize::try_from(asset).ok(), usize::try_from(of).ok());
            let (asset, of) = (asset.filter(|&asset| asset < assets.len()), of.filter(|&of| of < dimensions.len()));
            let (Some(asset), Some(of)) = (asset, of) else { return Err(malformed("an index without an element")) };
            records.push(PackedRecord { asset, dimensions: of, quantity });
        }
        if !indexes.0.rest.is_empty() || !indexes.1.rest.is_empty() {
            return Err(malformed("more indexes than quantities"));
        }
        Ok(Self { assets, dimensions, records })
    }

    pub(super) fn records(&self) -> &[PackedRecord<'a>] {
        &self.records
    }

    /// Makes a record what it is without packing: a message whose later fields count.
    pub(super) fn unpack(&self, record: PackedRecord<'_>, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.dimensions[record.dimensions]);
        out.extend_from_slice(self.assets[record.asset]);
        prost::encoding::encode_key(Column::Quantity.field(), prost::encoding::WireType::LengthDelimited, out);
        prost::encoding::encode_varint(record.quantity.len() as u64, out);
        out.extend_from_slice(record.quantity);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::contract::proto;

    fn sound() -> proto::PackedRecords {
        let part = |asset_id: &str| proto::UsageRecord { asset_id: asset_id.to_owned(), ..Default::default() };
        proto::PackedRecords {
            assets: vec![part("a"), part("b")],
            dimensions: vec![proto::UsageRecord { trial: true, ..Default::default() }; 300],
            asset_indexes: vec![0, 1, 1],
            dimension_indexes: vec![0, 299, 1],
            quantities: vec!["1".to_owned(), "2.50".to_owned(), String::new()],
        }
    }

    #[test]
    fn records_are_unpacked() {
        let (message, mut unpacked) = (sound().encode_to_vec(), Vec::new());
        let packed = PackedRecords::read(&message).expect("sound");
        let records = packed.records().iter().map(|record| {
            packed.unpack(*record, &mut unpacked);
            proto::UsageRecord::decode(unpacked.as_slice()).expect("sound")
        });
        let found: Vec<_> = records.map(|record| (record.asset_id, record.trial, record.quantity)).collect();
        let expected = [("a", "1"), ("b", "2.50"), ("b", "")];
        assert_eq!(found, expected.map(|(asset, quantity)| (asset.to_owned(), true, quantity.to_owned())));
        assert!(PackedRecords::read(&[]).is_ok_and(|packed| packed.records().is_empty()));
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        type Change = fn(&mut proto::PackedRecords);
        let cases: [(Change, &str); 10] = [
            (|packed| packed.asset_indexes[2] = 2, "an index without an element"),
            (|packed| packed.dimension_indexes[0] = 300, "an index without an element"),
            (|packed| packed.asset_indexes[0] = u32::MAX, "an index without an element"),
            (|packed| packed.asset_indexes.truncate(2), "fewer indexes than quantities"),
            (|packed| packed.dimension_indexes.clear(), "fewer indexes than quantities"),
            (|packed| packed.asset_indexes.push(0), "more indexes than quantities"),
            (|packed| packed.quantities.truncate(2), "more indexes than quantities"),
            (|packed| packed.assets = vec![proto::UsageRecord::default(); 4097], "too many"),
            (|packed| packed.assets[1].asset_name = "n".repeat(4096), "a part of more than 4 KiB"),
            (|packed| packed.dimensions[7].meter_name = "m".repeat(4096), "a part of more than 4 KiB"),
        ];
        for (change, expected) in cases {
            let mut packed = sound();
            change(&mut packed);
            let error = PackedRecords::read(&packed.encode_to_vec()).err().expect(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let message = sound().encode_to_vec();
        for length in (1..message.len()).filter(|&length| PackedRecords::read(&message[..length]).is_ok()) {
            // What is cut between two fields lacks quantities or indexes, or all of them.
            let cut = proto::PackedRecords::decode(&message[..length]).expect("whole fields");
            assert!(cut.quantities.is_empty() && cut.asset_indexes.is_empty() && cut.dimension_indexes.is_empty());
        }
        for twice in [[message.as_slice(), &[0x1a, 1, 0]].concat(), [message.as_slice(), &[0x20, 0]].concat()] {
            let error = PackedRecords::read(&twice).err().expect("indexes twice").to_string();
            assert!(error.contains("indexes in pieces"), "{error}");
        }
    }
}
