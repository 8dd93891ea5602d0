//! Reads the records of a report, chunk by chunk, and holds them against its totals.

use super::{UsageReport, chunk::UsageChunk, position::Position};
use crate::{
    reports::{ReportError, blocks::LoadBlocks},
    store::{BlockRecords, StoreError},
};

impl UsageReport {
    /// The next records; `None` at the end, after the totals of all records were checked.
    ///
    /// # Errors
    ///
    /// The store failed, or the records do not add up to the totals.
    pub async fn next<R: BlockRecords>(&mut self) -> Result<Option<UsageChunk<R>>, ReportError> {
        let mut chunk: UsageChunk<R> = UsageChunk::new(self.position);
        // After the last record that matches the filter, the rest is not read.
        while self.filter.is_empty() || self.records_read(&chunk) < self.header.record_count {
            self.fill(&mut chunk)?;
            if chunk.records.len() >= R::ENOUGH {
                break;
            }
            let matched_records = std::mem::take(&mut self.matched_records);
            let Some(blocks) = self.reader.next(matched_records).await? else { break };
            self.begin(blocks);
        }
        if chunk.records.is_empty() {
            self.check_totals()?;
            return Ok(None);
        }
        self.add_to_totals(&chunk.records);
        Ok(Some(chunk))
    }

    /// Whether all records were read, as far as their number tells.
    pub fn is_at_end(&self) -> bool {
        self.position.records_before >= self.header.record_count
    }

    fn records_read<R: BlockRecords>(&self, chunk: &UsageChunk<R>) -> u64 {
        self.position.records_before + chunk.records.len() as u64
    }

    fn begin(&mut self, of_load: LoadBlocks) {
        let LoadBlocks { load, after, blocks } = of_load;
        self.blocks = blocks.into();
        self.position = Position { load, row: after, ..self.position };
    }

    /// Adds records of the blocks that were read.
    fn fill<R: BlockRecords>(&mut self, chunk: &mut UsageChunk<R>) -> Result<(), StoreError> {
        let records_before = chunk.records.len();
        while chunk.records.len() < R::FULL {
            let Some(block) = self.blocks.pop_front() else {
                let Some(blocks) = self.reader.next_ready() else { break };
                self.begin(blocks);
                continue;
            };
            if chunk.loads.last().is_none_or(|&(_, load)| load != self.position.load) {
                chunk.loads.push((chunk.records.len(), self.position.load));
            }
            chunk.records.reserve(if self.filter.is_empty() { block.count() } else { 0 });
            block.read_into(self.position.row, &self.filter, &mut chunk.records)?;
            self.position.row = block.last_row();
        }
        self.matched_records += chunk.records.len() - records_before;
        Ok(())
    }

    fn add_to_totals(&mut self, records: &impl BlockRecords) {
        let slots: Vec<usize> =
            records.dimensions().iter().map(|stored| self.read_totals.slot(&stored.usage_key())).collect();
        for (dimensions, quantity) in records.quantities() {
            self.read_totals.add_to(slots[dimensions], quantity);
        }
        self.position.records_before += records.len() as u64;
    }
}
