//! Records without what they repeat.

use super::encoder::RecordEncoder;
use crate::{
    contract::{
        LENGTH_DELIMITED, PACKED_ASSET_INDEXES, PACKED_ASSETS, PACKED_DIMENSION_INDEXES, PACKED_DIMENSIONS,
        PACKED_QUANTITIES, PACKED_RECORDS, put_varint,
    },
    store::{AssetKey, RecordRow},
};

/// Makes `PackedRecords`. Its buffers are used again.
#[derive(Default)]
pub(super) struct Packing {
    /// The fields `assets` and `dimensions`.
    common: Vec<u8>,
    part: Vec<u8>,
    asset_indexes: Vec<u8>,
    dimension_indexes: Vec<u8>,
    quantities: Vec<u8>,
    /// Where dimensions of the encoder are in the message, if they are there.
    positions: Vec<Option<u32>>,
}

// === impl Packing ===

impl Packing {
    /// Adds records to the bytes of a message until there are so many bytes, at least one; returns how many there were, or the asset of
    /// one that is not known.
    pub(super) fn pack(
        &mut self,
        rows: &[RecordRow],
        encoder: &mut RecordEncoder,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, AssetKey> {
        self.clear();
        let (mut assets, mut dimensions, mut count) = (0_u32, 0_u32, 0);
        let mut last: Option<AssetKey> = None;
        for row in rows {
            // Records of an asset follow each other.
            if last != Some(row.asset) {
                last = Some(row.asset);
                put_bytes(PACKED_ASSETS, encoder.assets().get(row.asset).ok_or(row.asset)?, &mut self.common);
                assets += 1;
            }
            if self.positions.len() <= row.dimensions {
                self.positions.resize(row.dimensions + 1, None);
            }
            let position = match self.positions[row.dimensions] {
                Some(position) => position,
                None => {
                    self.part.clear();
                    encoder.put_common(row.dimensions, &mut self.part).ok_or(row.asset)?;
                    put_bytes(PACKED_DIMENSIONS, &self.part, &mut self.common);
                    dimensions += 1;
                    *self.positions[row.dimensions].insert(dimensions - 1)
                }
            };
            put_varint((assets - 1).into(), &mut self.asset_indexes);
            put_varint(position.into(), &mut self.dimension_indexes);
            self.part.clear();
            row.quantity.write_to(&mut self.part);
            put_bytes(PACKED_QUANTITIES, &self.part, &mut self.quantities);
            count += 1;
            if self.common.len() + self.quantities.len() >= max_bytes {
                break;
            }
        }
        // Their lengths come first, so they are put together at the end.
        let packed = &mut self.common;
        put_bytes(PACKED_ASSET_INDEXES, &self.asset_indexes, packed);
        put_bytes(PACKED_DIMENSION_INDEXES, &self.dimension_indexes, packed);
        put_varint((PACKED_RECORDS << 3 | LENGTH_DELIMITED).into(), out);
        put_varint((packed.len() + self.quantities.len()) as u64, out);
        out.extend_from_slice(packed);
        out.extend_from_slice(&self.quantities);
        Ok(count)
    }

    fn clear(&mut self) {
        for buffer in [&mut self.common, &mut self.asset_indexes, &mut self.dimension_indexes, &mut self.quantities] {
            buffer.clear();
        }
        self.positions.clear();
    }
}

fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint((field << 3 | LENGTH_DELIMITED).into(), out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
