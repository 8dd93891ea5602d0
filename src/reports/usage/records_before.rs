//! How many records come before a position, as the database has them: what a token says of it may be made up.

use super::{UsageReport, position::Position};
use crate::{
    reports::{ReportError, blocks::RANGE_BLOCKS},
    store::{BlockRange, Load, RecordRows, StoreError, StoredTotal, block_of},
};

impl UsageReport {
    /// Counts the records of the report before a position, which must be in its loads.
    pub(super) async fn records_before(&self, position: Position) -> Result<u64, ReportError> {
        let (whole, rest) = self.loads.split_at(position.load.min(self.loads.len()));
        let Some(load) = rest.first() else { return Ok(0) };
        if self.filter.is_empty() {
            let rows = whole.iter().map(|load| load.record_count).chain([position.row]);
            return Ok(rows.map(|rows| u64::try_from(rows).unwrap_or(0)).sum());
        }
        Ok(self.records_of(whole).await? + self.rows_until(load, position.row).await?)
    }

    /// The number of records of loads.
    async fn records_of(&self, loads: &[Load]) -> Result<u64, StoreError> {
        if loads.is_empty() {
            return Ok(0);
        }
        let totals = self.totals_of(loads).await?;
        let totals = totals.ok_or_else(|| StoreError::unavailable("records before the position are not there"))?;
        Ok(totals.iter().map(|StoredTotal { record_count, .. }| u64::try_from(*record_count).unwrap_or(0)).sum())
    }

    /// The number of records of a load up to a row, which is counted from 1.
    async fn rows_until(&self, load: &Load, row: i32) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut first = 1;
        while row > 0 && first <= block_of(row) {
            let last = block_of(row).min(first + RANGE_BLOCKS - 1);
            let (tenant, month) = (&self.header.tenant, self.header.month);
            let range = BlockRange { first, last };
            let loads = std::slice::from_ref(load);
            for (_, block) in self.store.read_blocks(tenant, month, loads, range, &self.filter).await? {
                let mut records = RecordRows::default();
                block.read_into(0, &self.filter, &mut records)?;
                count += records.rows.iter().filter(|found| found.row_number <= row).count() as u64;
            }
            first = last + 1;
        }
        Ok(count)
    }
}
