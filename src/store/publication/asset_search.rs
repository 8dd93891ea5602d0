//! Looks assets up: what a tenant has between the first and the last that is wanted is read in one go, and compared here.
//!
//! A look into the index for each asset would take three times as long, where most that a tenant has are wanted, as is the rule.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use tokio_postgres::{Client, Row};

use super::places::{Places, with};
use crate::{
    database::PreparedStatement,
    model::{Asset, AssetType},
    store::{StoreError, TenantKey},
};

/// How many assets of a range are read for each that is wanted; where it has more, the others are asked for one by one.
const READ_FOR_EACH: usize = 2;
/// Those that are read in any case.
const READ_AT_LEAST: usize = 16;

pub(super) struct AssetSearch<'a> {
    places: Places,
    ranges: PreparedStatement<'a>,
    each: PreparedStatement<'a>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TenantAsset {
    pub(super) tenant: TenantKey,
    pub(super) asset: Arc<Asset>,
}

/// Assets of a tenant and a type, from the first id to the last.
struct Range<'a> {
    tenant: TenantKey,
    asset_type: AssetType,
    first: &'a str,
    last: &'a str,
    wanted: usize,
    /// Whether all that there are were read.
    is_complete: bool,
}

impl<'a> AssetSearch<'a> {
    pub(super) async fn new(client: &'a Client, places: Places) -> Result<Self, StoreError> {
        let ranges = PreparedStatement::new(
            client,
            // Arrays, and not a row for each: most of the time would be theirs.
            format!(
                "-- assets: find ranges
                SELECT array_agg(wanted.n) AS ranges, array_agg(found.asset_key) AS keys,
                       array_agg(found.asset_id) AS ids, array_agg(found.asset_name) AS names
                FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::bigint[])
                     WITH ORDINALITY AS wanted (tenant_key, asset_type, first_id, last_id, most, n)
                CROSS JOIN LATERAL (
                    SELECT asset_key, asset_id, asset_name FROM asset
                    WHERE tenant_key = wanted.tenant_key{} AND asset_type = wanted.asset_type
                      AND asset_id BETWEEN wanted.first_id AND wanted.last_id
                    ORDER BY asset_id, asset_name LIMIT wanted.most
                ) AS found",
                places.condition(6)
            ),
        )
        .await?;
        let each = PreparedStatement::new(
            client,
            format!(
                "-- assets: find
                SELECT array_agg((
                    SELECT asset_key FROM asset
                    WHERE tenant_key = wanted.tenant_key{} AND asset_type = wanted.asset_type
                      AND asset_id = wanted.asset_id AND asset_name = wanted.asset_name
                ) ORDER BY n) AS keys
                FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[])
                     WITH ORDINALITY AS wanted (tenant_key, asset_type, asset_id, asset_name, n)",
                places.condition(5)
            ),
        )
        .await?;
        Ok(Self { places, ranges, each })
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The keys of assets, in their order, as far as they are there.
    pub(super) async fn find(&self, wanted: &[TenantAsset]) -> Result<Vec<Option<i64>>, StoreError> {
        let Some(parts) = self.places.parts(wanted, |wanted| wanted.tenant) else {
            return self.find_part(wanted).await;
        };
        let mut found = vec![None; wanted.len()];
        for part in parts {
            self.find_some(wanted, part, &mut found).await?;
        }
        Ok(found)
    }

    /// Finds those at these positions.
    async fn find_some(
        &self,
        wanted: &[TenantAsset],
        positions: Vec<usize>,
        found: &mut [Option<i64>],
    ) -> Result<(), StoreError> {
        let assets: Vec<TenantAsset> = positions.iter().map(|&n| wanted[n].clone()).collect();
        for (n, key) in positions.into_iter().zip(self.find_part(&assets).await?) {
            found[n] = key;
        }
        Ok(())
    }

    async fn find_part(&self, wanted: &[TenantAsset]) -> Result<Vec<Option<i64>>, StoreError> {
        let (mut ranges, range_of) = ranges(wanted);
        let rows = self.read(&ranges).await?;
        let read = Read::of(&rows, &mut ranges)?;
        let key = |(wanted, &range): (&TenantAsset, &usize)| {
            read.keys.get(&(range, &*wanted.asset.id, &*wanted.asset.name)).copied()
        };
        let mut found: Vec<Option<i64>> = wanted.iter().zip(&range_of).map(key).collect();
        let left: Vec<usize> =
            (0..wanted.len()).filter(|&n| found[n].is_none() && !ranges[range_of[n]].is_complete).collect();
        if !left.is_empty() {
            let assets: Vec<TenantAsset> = left.iter().map(|&n| wanted[n].clone()).collect();
            for (n, key) in left.into_iter().zip(self.find_each(&assets).await?) {
                found[n] = key;
            }
        }
        Ok(found)
    }

    async fn read(&self, ranges: &[Range<'_>]) -> Result<Vec<Row>, StoreError> {
        let tenants: Vec<i64> = ranges.iter().map(|range| range.tenant.0).collect();
        let types: Vec<i16> = ranges.iter().map(|range| range.asset_type.code()).collect();
        let first: Vec<&str> = ranges.iter().map(|range| range.first).collect();
        let last: Vec<&str> = ranges.iter().map(|range| range.last).collect();
        let most: Vec<i64> = ranges.iter().map(|range| i64::try_from(range.most()).unwrap_or(i64::MAX)).collect();
        let of_shard = self.places.bind(&tenants);
        let parameters = with(vec![&tenants, &types, &first, &last, &most], of_shard.as_ref());
        Ok(self.ranges.fetch_all(&parameters).await?)
    }

    async fn find_each(&self, assets: &[TenantAsset]) -> Result<Vec<Option<i64>>, StoreError> {
        let (tenants, types, ids, names) = columns(assets);
        let of_shard = self.places.bind(&tenants);
        let parameters = with(vec![&tenants, &types, &ids, &names], of_shard.as_ref());
        let rows = self.each.fetch_all(&parameters).await?;
        let found: Vec<Option<i64>> = rows.first().map(|row| row.try_get("keys")).transpose()?.unwrap_or_default();
        if found.len() == assets.len() { Ok(found) } else { Err(StoreError::corrupt("assets have no position")) }
    }
}

// === impl Range ===

impl Range<'_> {
    /// How many of its assets are read.
    fn most(&self) -> usize {
        self.wanted * READ_FOR_EACH + READ_AT_LEAST
    }
}

/// The ranges that these assets lie in, and the range of each.
fn ranges(wanted: &[TenantAsset]) -> (Vec<Range<'_>>, Vec<usize>) {
    let mut ranges: Vec<Range<'_>> = Vec::new();
    let mut range_of = Vec::with_capacity(wanted.len());
    // The first range of the present tenant: a tenant's assets follow each other.
    let mut first_of_tenant = 0;
    for TenantAsset { tenant, asset } in wanted {
        if ranges.last().is_none_or(|range| range.tenant != *tenant) {
            first_of_tenant = ranges.len();
        }
        let of_type = |range: &Range<'_>| range.asset_type == asset.asset_type;
        let at = ranges[first_of_tenant..].iter().position(of_type).map(|n| first_of_tenant + n);
        let at = at.unwrap_or_else(|| {
            let (id, asset_type) = (asset.id.as_str(), asset.asset_type);
            ranges.push(Range { tenant: *tenant, asset_type, first: id, last: id, wanted: 0, is_complete: false });
            ranges.len() - 1
        });
        let range = &mut ranges[at];
        range.first = range.first.min(&asset.id);
        range.last = range.last.max(&asset.id);
        range.wanted += 1;
        range_of.push(at);
    }
    (ranges, range_of)
}

/// Tenants, types, ids and names.
pub(super) fn columns(assets: &[TenantAsset]) -> (Vec<i64>, Vec<i16>, Vec<&str>, Vec<&str>) {
    let tenants = assets.iter().map(|wanted| wanted.tenant.0).collect();
    let types = assets.iter().map(|wanted| wanted.asset.asset_type.code()).collect();
    let ids = assets.iter().map(|wanted| wanted.asset.id.as_str()).collect();
    let names = assets.iter().map(|wanted| wanted.asset.name.as_str()).collect();
    (tenants, types, ids, names)
}

/// What was read of ranges.
struct Read<'a> {
    /// By range, id and name.
    keys: HashMap<(usize, &'a str, &'a str), i64, RandomState>,
}

impl<'a> Read<'a> {
    /// Says of each range whether it is complete.
    fn of(rows: &'a [Row], ranges: &mut [Range<'_>]) -> Result<Self, StoreError> {
        let mut counts = vec![0; ranges.len()];
        let mut keys = HashMap::default();
        for row in rows {
            // NULL where there is none at all.
            let Some(positions) = row.try_get::<_, Option<Vec<i64>>>("ranges")? else { continue };
            let (found, ids, names): (Vec<i64>, Vec<&str>, Vec<&str>) =
                (row.try_get("keys")?, row.try_get("ids")?, row.try_get("names")?);
            keys.reserve(found.len());
            for (((position, key), id), name) in positions.into_iter().zip(found).zip(ids).zip(names) {
                let range = usize::try_from(position).ok().and_then(|n| n.checked_sub(1)).filter(|&n| n < counts.len());
                let range = range.ok_or_else(|| StoreError::corrupt("an asset lies in no range"))?;
                counts[range] += 1;
                keys.insert((range, id, name), key);
            }
        }
        for (range, count) in ranges.iter_mut().zip(counts) {
            range.is_complete = count < range.most();
        }
        Ok(Self { keys })
    }
}
