//! Records of a report that follow each other.

use super::position::Position;
use crate::store::{AssetKey, BlockRecords, RecordColumns, RecordRow, RecordRows, StoredDimensions};

/// Consecutive records, at least one.
#[derive(Clone, Debug)]
pub struct UsageChunk<R = RecordRows> {
    pub(super) records: R,
    /// The position before the first record.
    pub(super) start: Position,
    /// The loads that records are of, each behind the index of its first record.
    pub(super) loads: Vec<(usize, usize)>,
}

// === impl UsageChunk ===

impl<R: BlockRecords> UsageChunk<R> {
    pub(super) fn new(start: Position) -> Self {
        Self { records: R::default(), start, loads: Vec::new() }
    }

    /// The dimensions of the records, by the positions that they name.
    pub fn dimensions(&self) -> &[StoredDimensions] {
        self.records.dimensions()
    }

    /// The keys of the records' assets, in order, each once.
    pub fn asset_keys(&self) -> Vec<AssetKey> {
        let mut keys: Vec<AssetKey> = self.records.assets().collect();
        // Records of an asset are consecutive, so this leaves few keys.
        keys.dedup();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl UsageChunk<RecordRows> {
    pub fn rows(&self) -> &[RecordRow] {
        &self.records.rows
    }

    /// The position after a record.
    pub(super) fn position(&self, record: usize) -> Position {
        let before = self.loads.partition_point(|&(first, _)| first <= record);
        let load = before.checked_sub(1).map_or(self.start.load, |index| self.loads[index].1);
        let row = self.rows().get(record).map_or(self.start.row, |row| row.row_number);
        Position { load, row, records_before: self.start.records_before + record as u64 + 1 }
    }
}

impl UsageChunk<RecordColumns> {
    pub fn columns(&self) -> &RecordColumns {
        &self.records
    }
}
