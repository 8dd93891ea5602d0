//! Records that were taken out of blocks: as rows, for who hands on one after the other, or as columns.

use super::{AssetKey, BLOCK_ROWS, StoredDimensions};
use crate::model::Decimal;

/// Records that follow each other in a load.
pub trait BlockRecords: Default {
    /// How many there are at least before they are handed on, as long as more are at hand.
    const FULL: usize;
    /// How many there are at least before they are handed on, as long as there are more.
    const ENOUGH: usize;

    fn len(&self) -> usize;

    fn reserve(&mut self, additional: usize);

    /// What the following records may be of; returns its position.
    fn add_dimensions(&mut self, dimensions: StoredDimensions) -> usize;

    fn push(&mut self, record: RecordRow);

    /// What they are of.
    fn dimensions(&self) -> &[StoredDimensions];

    /// The positions of the dimensions, and the quantities.
    fn quantities(&self) -> impl Iterator<Item = (usize, Decimal)>;

    fn assets(&self) -> impl Iterator<Item = AssetKey>;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// Position in the load: 1, 2, 3, ...
    pub row_number: i32,
    /// What generated it.
    pub asset: AssetKey,
    /// Which of the dimensions that came with it.
    pub dimensions: usize,
    /// The amount.
    pub quantity: Decimal,
}

#[derive(Clone, Debug, Default)]
pub struct RecordRows {
    /// What they are of.
    pub dimensions: Vec<StoredDimensions>,
    /// The records.
    pub rows: Vec<RecordRow>,
}

/// Its lists have an element for each record.
#[derive(Clone, Debug, Default)]
pub struct RecordColumns {
    /// What they are of.
    pub dimensions: Vec<StoredDimensions>,
    pub assets: Vec<AssetKey>,
    /// Which of the dimensions.
    pub dimension_indexes: Vec<usize>,
    pub quantities: Vec<Decimal>,
}

impl BlockRecords for RecordRows {
    const FULL: usize = 512;
    const ENOUGH: usize = 1;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn reserve(&mut self, additional: usize) {
        self.rows.reserve(additional);
    }

    fn add_dimensions(&mut self, dimensions: StoredDimensions) -> usize {
        self.dimensions.push(dimensions);
        self.dimensions.len() - 1
    }

    fn push(&mut self, record: RecordRow) {
        self.rows.push(record);
    }

    fn dimensions(&self) -> &[StoredDimensions] {
        &self.dimensions
    }

    fn quantities(&self) -> impl Iterator<Item = (usize, Decimal)> {
        self.rows.iter().map(|row| (row.dimensions, row.quantity))
    }

    fn assets(&self) -> impl Iterator<Item = AssetKey> {
        self.rows.iter().map(|row| row.asset)
    }
}

impl BlockRecords for RecordColumns {
    const FULL: usize = 7 * BLOCK_ROWS as usize;
    const ENOUGH: usize = Self::FULL;

    fn len(&self) -> usize {
        self.assets.len()
    }

    fn reserve(&mut self, additional: usize) {
        self.assets.reserve(additional);
        self.dimension_indexes.reserve(additional);
        self.quantities.reserve(additional);
    }

    fn add_dimensions(&mut self, dimensions: StoredDimensions) -> usize {
        self.dimensions.push(dimensions);
        self.dimensions.len() - 1
    }

    fn push(&mut self, record: RecordRow) {
        self.assets.push(record.asset);
        self.dimension_indexes.push(record.dimensions);
        self.quantities.push(record.quantity);
    }

    fn dimensions(&self) -> &[StoredDimensions] {
        &self.dimensions
    }

    fn quantities(&self) -> impl Iterator<Item = (usize, Decimal)> {
        self.dimension_indexes.iter().copied().zip(self.quantities.iter().copied())
    }

    fn assets(&self) -> impl Iterator<Item = AssetKey> {
        self.assets.iter().copied()
    }
}
