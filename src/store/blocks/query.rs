//! Records of loads, a range of blocks at a time.
//!
//! Blocks are numbered from 1 without gaps, so a range has a known size whatever plan the database chooses. Nothing stays
//! open between two ranges: a slow reader holds no connection, no snapshot and no memory of the database.

use std::{borrow::Cow, collections::HashMap};

use super::{
    AssetKey, BLOCK_ROWS, RecordBlock, RecordFilter, block_of,
    dimensions::{ASSET_TYPE, BILLING_REGION, METER_SHIFT},
    read::block_columns,
    rows_before,
};
use crate::{
    database::{Statements as _, copy_out::CopyReader},
    model::{Asset, AssetType, Month, composed},
    store::{Load, Store, StoreError, StoredTotal, VisibleTenant, loads::load_ids},
};

/// Blocks that follow each other in a load. Of a load with fewer, those that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The first one.
    pub first: i32,
    /// The last one.
    pub last: i32,
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
        Err(StoreError::corrupt(format!("load {} lacks rows in blocks {} to {}", load.id, self.first, self.last)))
    }
}

impl Store {
    /// Blocks of loads, in order, each with the position of its load among these. Where the filter names assets, only those
    /// with one of them.
    ///
    /// By COPY, which hands rows over with less work on both sides than a query does. It takes no parameters, but all of
    /// them are numbers and dates here.
    pub async fn read_blocks(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        loads: &[Load],
        range: BlockRange,
        filter: &RecordFilter,
    ) -> Result<Vec<(usize, RecordBlock)>, StoreError> {
        let assets = filter.asset_keys.as_ref().map_or_else(String::new, |keys| {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            format!(" AND asset_keys && '{{{}}}'", keys.join(","))
        });
        let positions: HashMap<i64, usize> = loads.iter().enumerate().map(|(index, load)| (load.id, index)).collect();
        let ids: Vec<String> = loads.iter().map(|load| load.id.to_string()).collect();
        let sql = format!(
            "COPY (/* read_blocks */ SELECT load_id, {} FROM usage_block
            WHERE tenant_key = {} AND usage_month = '{}' AND load_id = ANY ('{{{}}}')
              AND block_number >= {} AND block_number <= {}{assets}
            ORDER BY load_id, block_number) TO STDOUT (FORMAT binary)",
            block_columns(),
            tenant.key(),
            month.first_day(),
            ids.join(","),
            range.first,
            range.last,
        );
        let client = self.export().await?;
        let mut blocks: Vec<(usize, RecordBlock)> = Vec::new();
        let mut reader = CopyReader::default();
        client
            .copy_out::<StoreError>(&sql, |piece| {
                reader.read(piece, |columns| {
                    let position = positions.get(&columns.i64()?);
                    let position = *position.ok_or_else(|| StoreError::corrupt("blocks of another load"))?;
                    blocks.push((position, RecordBlock::read(columns)?));
                    Ok(())
                })
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
        let client = self.export().await?;
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

    /// What the records of loads add up to, for filters that the stored totals cannot answer; `None` where some are missing.
    pub async fn added_up_totals(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        loads: &[Load],
        filter: &RecordFilter,
    ) -> Result<Option<Vec<StoredTotal>>, StoreError> {
        let client = self.export().await?;
        let (region, asset_type) = (BILLING_REGION, ASSET_TYPE);
        let statement = format!(
            "-- added_up_totals
            SELECT present.blocks, total.*
            FROM (
                SELECT count(*) AS blocks FROM usage_block
                WHERE tenant_key = $1 AND usage_month = $2 AND load_id = ANY ($3)
            ) AS present
            LEFT JOIN (
            SELECT meter_key, billing_region, trial, sum(quantity)::text AS quantity, count(*) AS record_count
            FROM usage_block b,
                 -- Out of its compressed form once for a block.
                 LATERAL (SELECT b.kind_codes || '{{}}'::bigint[] OFFSET 0) AS c (codes),
                 LATERAL unnest(asset_keys, kind_numbers, quantities) AS r (asset_key, kind_number, quantity),
                 LATERAL (SELECT codes[kind_number]) AS p (code),
                 LATERAL (SELECT code >> {METER_SHIFT}, (code >> {} & {})::smallint, (code >> {} & {})::smallint,
                                 code & 1 = 1)
                     AS k (meter_key, asset_type, billing_region, trial)
            WHERE tenant_key = $1 AND usage_month = $2 AND load_id = ANY ($3)
              AND ($4::bigint[] IS NULL OR meter_key = ANY ($4))
              AND ($5::smallint[] IS NULL OR billing_region = ANY ($5))
              AND ($6::boolean IS NULL OR trial = $6)
              AND ($7::smallint[] IS NULL OR asset_type = ANY ($7))
              AND ($8::bigint[] IS NULL OR asset_keys && $8 AND asset_key = ANY ($8))
            GROUP BY meter_key, billing_region, trial
            ) AS total ON true",
            asset_type.shift,
            asset_type.mask(),
            region.shift,
            region.mask(),
        );
        let rows = client
            .fetch_all(
                &statement,
                &[
                    &tenant.key(),
                    &month.first_day(),
                    &load_ids(loads),
                    &filter.meter_keys,
                    &filter.billing_regions,
                    &filter.trial,
                    &filter.asset_types,
                    &filter.asset_keys,
                ],
            )
            .await?;
        let blocks: i64 = rows.first().map_or(Ok(0), |row| row.try_get("blocks"))?;
        let expected = loads.iter().filter(|load| load.record_count > 0).map(|load| block_of(load.record_count));
        if blocks != expected.map(i64::from).sum::<i64>() {
            return Ok(None);
        }
        let there = rows.iter().filter(|row| !matches!(row.try_get::<_, Option<i64>>("meter_key"), Ok(None)));
        there.map(StoredTotal::from_row).collect::<Result<_, _>>().map(Some)
    }
}
