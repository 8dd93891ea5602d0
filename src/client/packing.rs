//! Packed records as tests make them.

use prost::Message as _;

use crate::{contract::proto, model::UsageRecord};

/// Packed by the generated code; parts are not always where the server puts them.
pub(super) fn packed(records: &[UsageRecord], unusual: bool) -> Vec<u8> {
    let mut packed = proto::PackedRecords::default();
    for (index, record) in records.iter().enumerate() {
        let message = proto::UsageRecord::from(record);
        let mut asset = proto::UsageRecord {
            asset_name: message.asset_name.clone(),
            asset_id: message.asset_id.clone(),
            asset_type: message.asset_type,
            ..Default::default()
        };
        let mut dimensions = proto::UsageRecord {
            asset_name: String::new(),
            asset_id: String::new(),
            asset_type: 0,
            quantity: String::new(),
            ..message.clone()
        };
        match if unusual { index % 5 } else { 0 } {
            1 => std::mem::swap(&mut asset.asset_name, &mut dimensions.asset_name),
            2 => dimensions.quantity = "7".to_owned(),
            3 => std::mem::swap(&mut asset.tenant_id, &mut dimensions.tenant_id),
            4 => (asset, dimensions) = (message.clone(), proto::UsageRecord::default()),
            _ => {}
        }
        let position = |known: &mut Vec<proto::UsageRecord>, part| {
            let position = known.iter().position(|other| *other == part).unwrap_or_else(|| {
                known.push(part);
                known.len() - 1
            });
            u32::try_from(position).expect("few")
        };
        packed.asset_indexes.push(position(&mut packed.assets, asset));
        packed.dimension_indexes.push(position(&mut packed.dimensions, dimensions));
        packed.quantities.push(message.quantity);
    }
    packed.encode_to_vec()
}
