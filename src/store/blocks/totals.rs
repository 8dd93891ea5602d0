//! What records add up to, for filters that the stored totals cannot answer.

use super::{
    RecordBlock, RecordFilter, block_of,
    query::{copy_sql, read_copied},
};
use crate::{
    database::Statements as _,
    model::{Month, Totals},
    store::{Load, MeterKey, Store, StoreError, StoredTotal, VisibleTenant, loads::load_ids},
};

impl Store {
    /// What the records of loads that pass a filter add up to; `None` where blocks are missing.
    pub async fn added_up_totals(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        loads: &[Load],
        filter: &RecordFilter,
    ) -> Result<Option<Vec<StoredTotal>>, StoreError> {
        let client = self.records_of(tenant.key()).await?;
        let mut totals = Totals::<MeterKey>::default();
        let sql = copy_sql("added_up_totals", (tenant, month), loads, None, filter);
        read_copied(&client, &sql, |_, block| block.add_up(filter, &mut totals)).await?;
        // Blocks are only ever deleted: those that are there afterwards were there.
        let statement = "-- count_blocks
            SELECT count(*) AS blocks FROM usage_block WHERE tenant_key = $1 AND usage_month = $2 AND load_id = ANY ($3)";
        let row = client.fetch_one(statement, &[&tenant.key(), &month.first_day(), &load_ids(loads)]).await?;
        let expected = loads.iter().filter(|load| load.record_count > 0).map(|load| block_of(load.record_count));
        if row.try_get::<_, i64>("blocks")? != expected.map(i64::from).sum::<i64>() {
            return Ok(None);
        }
        let found = totals.iter().filter(|(_, total)| total.record_count > 0);
        found
            .map(|(key, total)| {
                let record_count =
                    i64::try_from(total.record_count).map_err(|_| StoreError::corrupt("too many records"))?;
                Ok(StoredTotal { key: *key, quantity: total.quantity.total(), record_count })
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

// === impl RecordBlock ===

impl RecordBlock {
    /// Adds up those of its records that pass a filter.
    fn add_up(&self, filter: &RecordFilter, totals: &mut Totals<MeterKey>) -> Result<(), StoreError> {
        let slots: Vec<Option<usize>> = self
            .dimensions()
            .iter()
            .map(|stored| filter.passes_dimensions(stored).then(|| totals.slot(&stored.usage_key())))
            .collect();
        self.visit(|asset, index, quantity| {
            if let Some(slot) = slots[index]
                && filter.passes_asset(asset)
            {
                totals.add_to(slot, quantity);
            }
        })
    }
}
