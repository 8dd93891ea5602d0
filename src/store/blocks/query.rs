//! Records of loads, a range of blocks at a time.
//!
//! Blocks are numbered from 1 without gaps, so a range has a known size whatever plan the database chooses. Nothing stays
//! open between two ranges: a slow reader holds no connection, no snapshot and no memory of the database.

use std::{borrow::Cow, collections::HashMap};

use super::{
    AssetKey, BLOCK_ROWS, RecordBlock, RecordFilter, block_of, dimensions::ASSET_TYPE, read::block_columns, rows_before,
};
use crate::{
    database::{PooledConnection, Statements as _, copy_out::CopyReader},
    model::{Asset, AssetType, Month, composed},
    store::{Load, Store, StoreError, VisibleTenant},
};

/// Blocks that follow each other in a load. Of a load with fewer, those that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The first one.
    pub first: i32,
    /// The last one.
    pub last: i32,
}

/// The statement whose output [`read_copied`] reads: blocks of loads, all of them where no range is given. Where the filter
/// names assets, only those that may have one of them.
///
/// By COPY, which hands rows over with less work on both sides than a query does. It takes no parameters, but all of
/// them are numbers and dates here.
pub(super) fn copy_sql(
    name: &str,
    (tenant, month): (&VisibleTenant, Month),
    loads: &[Load],
    range: Option<BlockRange>,
    filter: &RecordFilter,
) -> String {
    let list =
        |numbers: &mut dyn Iterator<Item = i64>| numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let range = range.map(|range| format!(" AND block_number >= {} AND block_number <= {}", range.first, range.last));
    let assets = filter.asset_keys.as_ref().map(|keys| {
        format!(
            " AND EXISTS (SELECT FROM unnest('{{{}}}'::bigint[]) AS wanted (asset_key)
                         WHERE asset_key BETWEEN first_asset_key AND last_asset_key)",
            list(&mut keys.iter().copied())
        )
    });
    format!(
        "COPY (/* {name} */ SELECT load_id, {} FROM usage_block
        WHERE tenant_key = {} AND usage_month = '{}' AND load_id = ANY ('{{{}}}'){}{}
        ORDER BY load_id, block_number) TO STDOUT (FORMAT binary)",
        block_columns(),
        tenant.key(),
        month.first_day(),
        list(&mut loads.iter().map(|load| load.id)),
        range.unwrap_or_default(),
        assets.unwrap_or_default(),
    )
}

/// Hands on blocks, each with the id of its load.
pub(super) async fn read_copied(
    client: &PooledConnection,
    sql: &str,
    mut block: impl FnMut(i64, RecordBlock) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut reader = CopyReader::default();
    client.copy_out(sql, |piece| reader.read(piece, |columns| block(columns.i64()?, RecordBlock::read(columns)?))).await
}

// === impl BlockRange ===

impl BlockRange {
    /// Checks that all rows of a load in the range are there. `is_partial`: some of the blocks were not asked for.
    fn check(self, load: &Load, blocks: &[(usize, RecordBlock)], is_partial: bool) -> Result<(), StoreError> {
        let last = self.last.min(if load.record_count > 0 { block_of(load.record_count) } else { 0 });
        let all_there = is_partial || blocks.iter().map(|(_, block)| block.number()).eq(self.first..=last);
        let has_rows = |(_, block): &(usize, RecordBlock)| {
            let rows = load.record_count.saturating_sub(rows_before(block.number())).min(BLOCK_ROWS);
            usize::try_from(rows) == Ok(block.count())
        };
        if all_there && blocks.iter().all(has_rows) {
            return Ok(());
        }
        Err(StoreError::Missing(format!("load {} lacks rows in blocks {} to {}", load.id, self.first, self.last)))
    }
}

impl Store {
    /// Blocks of loads, in order, each with the position of its load among these. Where the filter names assets, only those
    /// that may have one of them.
    pub async fn read_blocks(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        loads: &[Load],
        range: BlockRange,
        filter: &RecordFilter,
    ) -> Result<Vec<(usize, RecordBlock)>, StoreError> {
        let positions: HashMap<i64, usize> = loads.iter().enumerate().map(|(index, load)| (load.id, index)).collect();
        let client = self.records_of(tenant.key()).await?;
        let mut blocks: Vec<(usize, RecordBlock)> = Vec::new();
        let sql = copy_sql("read_blocks", (tenant, month), loads, Some(range), filter);
        read_copied(&client, &sql, |load_id, block| {
            let position = *positions.get(&load_id).ok_or_else(|| StoreError::corrupt("blocks of another load"))?;
            blocks.push((position, block));
            Ok(())
        })
        .await?;
        // Loads come in the order of their ids; those of a report are in that of their days.
        blocks.sort_by_key(|(load, _)| *load);
        let mut found = blocks.as_slice();
        for (index, load) in loads.iter().enumerate() {
            let of_load = found.iter().take_while(|(of, _)| *of == index).count();
            let (blocks, rest) = found.split_at(of_load);
            found = rest;
            range.check(load, blocks, filter.asset_keys.is_some())?;
        }
        Ok(blocks)
    }

    /// The assets of keys, in no order. One by one: for a few hundred of them the planner reads all that the tenant has.
    pub async fn assets(
        &self,
        tenant: &VisibleTenant,
        keys: &[AssetKey],
    ) -> Result<Vec<(AssetKey, Asset)>, StoreError> {
        let keys: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let client = self.records_of(tenant.key()).await?;
        let statement = "-- assets
            SELECT a.asset_key, a.asset_type, a.asset_id, a.asset_name
            FROM unnest($2::bigint[]) AS wanted (asset_key)
            CROSS JOIN LATERAL (
                SELECT * FROM asset WHERE tenant_key = $1 AND asset_key = wanted.asset_key OFFSET 0
            ) a";
        let rows = client.fetch_all(statement, &[&tenant.key(), &keys]).await?;
        rows.iter()
            .map(|row| {
                let code: i16 = row.try_get("asset_type")?;
                let asset = Asset {
                    asset_type: AssetType::from_code(code.into())
                        .ok_or_else(|| StoreError::corrupt(format!("there is no asset type {code}")))?,
                    id: row.try_get("asset_id")?,
                    name: row.try_get("asset_name")?,
                };
                Ok((AssetKey(row.try_get("asset_key")?), asset))
            })
            .collect()
    }

    /// The keys of assets with these ids, of every type and name. Composed characters and their parts are one.
    pub async fn asset_keys(&self, tenant: &VisibleTenant, asset_ids: &[String]) -> Result<Vec<AssetKey>, StoreError> {
        let client = self.short().await?;
        let statement = "-- asset_keys
            SELECT asset_key FROM asset
            WHERE tenant_key = $1 AND asset_type = ANY ($3) AND asset_id = ANY ($2)
            UNION
            SELECT asset_key FROM asset
            WHERE tenant_key = $1 AND octet_length(asset_id) <> char_length(asset_id)
              AND normalize(asset_id) = ANY ($2)";
        let forms: Vec<_> = asset_ids.iter().flat_map(|id| [Cow::Borrowed(id.as_str()), composed(id)]).collect();
        // Every type that a block can hold, so that the index of types and ids is used and none is missed.
        let types: Vec<i16> = (1..=ASSET_TYPE.mask()).filter_map(|code| i16::try_from(code).ok()).collect();
        let rows = client.fetch_all(statement, &[&tenant.key(), &forms, &types]).await?;
        rows.iter().map(|row| Ok(AssetKey(row.try_get("asset_key")?))).collect()
    }
}
