//! Packed records, as the contract's generated code reads and writes them.

use prost::Message as _;
use secure_connect_reports::contract::proto::{GetDetailedUsageResponse, PackedRecords, UsageRecord};

/// The most that a message may have.
const MAX_RECORDS: usize = 4096;

/// What records have in common is there once.
pub(crate) fn pack(records: &[UsageRecord]) -> PackedRecords {
    let mut packed = PackedRecords::default();
    for record in records {
        let record = record.clone();
        let asset = UsageRecord {
            asset_name: record.asset_name,
            asset_id: record.asset_id,
            asset_type: record.asset_type,
            ..Default::default()
        };
        let dimensions = UsageRecord {
            asset_name: String::new(),
            asset_id: String::new(),
            asset_type: 0,
            quantity: String::new(),
            ..record
        };
        packed.asset_indexes.push(position(&mut packed.assets, asset));
        packed.dimension_indexes.push(position(&mut packed.dimensions, dimensions));
        packed.quantities.push(record.quantity);
    }
    packed
}

fn position(known: &mut Vec<UsageRecord>, part: UsageRecord) -> u32 {
    let position = known.iter().position(|other| *other == part).unwrap_or_else(|| {
        known.push(part);
        known.len() - 1
    });
    u32::try_from(position).unwrap()
}

pub(crate) fn unpack(packed: &PackedRecords) -> Vec<UsageRecord> {
    let counts = [packed.asset_indexes.len(), packed.dimension_indexes.len()];
    assert_eq!(counts, [packed.quantities.len(); 2]);
    let indexes = packed.asset_indexes.iter().zip(&packed.dimension_indexes);
    let record = |((&asset, &dimensions), quantity): ((&u32, &u32), &String)| {
        let mut record = packed.dimensions[dimensions as usize].clone();
        record.merge(packed.assets[asset as usize].encode_to_vec().as_slice()).unwrap();
        UsageRecord { quantity: quantity.clone(), ..record }
    };
    indexes.zip(&packed.quantities).map(record).collect()
}

/// The same messages with packed records; more of them where one has too many.
pub(crate) fn packed(messages: &[GetDetailedUsageResponse]) -> Vec<GetDetailedUsageResponse> {
    let mut packed = Vec::new();
    for message in messages {
        let mut parts = message.records.chunks(MAX_RECORDS);
        let with = |part: Option<&[UsageRecord]>| GetDetailedUsageResponse {
            records: Vec::new(),
            packed_records: part.map(pack),
            ..message.clone()
        };
        packed.push(with(parts.next()));
        packed.extend(parts.map(|part| GetDetailedUsageResponse { header: None, ..with(Some(part)) }));
    }
    packed
}
