//! Keys of assets: looked up, or made where an asset is new.
//!
//! New assets are committed at once, apart from the import's transaction: two imports of one tenant then never wait for
//! each other's assets. One that no record names yet shows in no report.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use foldhash::fast::RandomState;
use tokio_postgres::{Client, types::ToSql};

use super::{
    asset_search::{AssetSearch, TenantAsset, columns},
    places::Places,
};
use crate::{
    database::{PreparedStatement, Scripts as _, Statements as _},
    model::Asset,
    store::{AssetKey, RecordToWrite, StoreError, TenantKey},
};

/// Past so many assets, what was looked up for a tenant is forgotten: records come sorted, so little is lost.
const MAX_CACHED: usize = 100_000;
/// How many assets a statement makes where they lie apart. It has parameters for each, and no more than 65,535.
const MADE_AT_ONCE: usize = 1000;

const PLAN_BY_INDEX: &str = "-- assets: plan
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off";
const PLAN_AS_BEFORE: &str = "-- assets: plan as before
    RESET plan_cache_mode; RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_sort";

pub(super) struct AssetKeys<'a> {
    client: &'a Client,
    are_apart: bool,
    search: AssetSearch<'a>,
    draw: PreparedStatement<'a>,
    make: PreparedStatement<'a>,
    /// The tenant of the last record, and its assets: records come sorted by tenant.
    tenant: Option<TenantKey>,
    known: HashMap<Arc<Asset>, AssetKey, RandomState>,
}

impl<'a> AssetKeys<'a> {
    pub(super) async fn new(client: &'a Client, places: Places) -> Result<Self, StoreError> {
        // The plan that knows nothing of tenants, and goes by the index, is the right one also where statistics are from when there
        // were few. Of records that lie apart, the tenant has to be known, and their machines plan for themselves.
        let are_apart = places.are_apart();
        if !are_apart {
            client.run_script(PLAN_BY_INDEX).await?;
        }
        let search = AssetSearch::new(client, places).await?;
        let draw = PreparedStatement::new(
            client,
            "-- assets: draw keys
                SELECT array_agg(nextval('asset_key_seq')) AS keys FROM generate_series(1, $1::bigint)",
        )
        .await?;
        let make = PreparedStatement::new(
            client,
            "-- assets: make
                INSERT INTO asset (tenant_key, asset_type, asset_id, asset_name, asset_key)
                SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::bigint[])
                ON CONFLICT DO NOTHING",
        )
        .await?;
        Ok(Self { client, are_apart, search, draw, make, tenant: None, known: HashMap::default() })
    }

    /// The keys of these records' assets, in their order.
    pub(super) async fn resolve(
        &mut self,
        records: &[RecordToWrite],
        tenant_of: impl Fn(&RecordToWrite) -> TenantKey,
    ) -> Result<Vec<AssetKey>, StoreError> {
        let mut keys = Vec::with_capacity(records.len());
        let mut wanted: Vec<TenantAsset> = Vec::new();
        let mut places = Vec::new();
        // Records of one asset follow each other.
        for run in records.chunk_by(|a, b| tenant_of(a) == tenant_of(b) && Arc::ptr_eq(&a.asset, &b.asset)) {
            let (tenant, asset) = (tenant_of(&run[0]), &run[0].asset);
            let known = if self.tenant == Some(tenant) { self.known.get(asset).copied() } else { None };
            if known.is_none() {
                wanted.push(TenantAsset { tenant, asset: Arc::clone(asset) });
                places.push(keys.len()..keys.len() + run.len());
            }
            keys.resize(keys.len() + run.len(), known.unwrap_or(AssetKey(0)));
        }
        let last = records.last().map(tenant_of);
        if self.tenant != last || self.known.len() > MAX_CACHED {
            self.known.clear();
            self.tenant = last;
        }
        for ((wanted, place), key) in wanted.iter().zip(places).zip(self.find_or_make(&wanted).await?) {
            keys[place].fill(key);
            if Some(wanted.tenant) == last {
                self.known.insert(Arc::clone(&wanted.asset), key);
            }
        }
        Ok(keys)
    }

    /// Gives the connection back as it was.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        if !self.are_apart {
            self.client.run_script(PLAN_AS_BEFORE).await?;
        }
        Ok(())
    }

    async fn find_or_make(&self, wanted: &[TenantAsset]) -> Result<Vec<AssetKey>, StoreError> {
        let mut found = self.search.find(wanted).await?;
        let missing = wanted.iter().zip(&found).filter(|(_, key)| key.is_none()).map(|(wanted, _)| wanted);
        let mut missing: Vec<TenantAsset> = missing.cloned().collect();
        if !missing.is_empty() {
            // Imports that make the same assets at once wait for each other in one order.
            missing.sort();
            missing.dedup();
            match self.make(&missing).await? {
                Some(made) => {
                    let made: HashMap<&TenantAsset, i64, RandomState> = missing.iter().zip(made).collect();
                    for (wanted, key) in wanted.iter().zip(&mut found).filter(|(_, key)| key.is_none()) {
                        *key = made.get(wanted).copied();
                    }
                }
                None => found = self.search.find(wanted).await?,
            }
        }
        let made = |key: Option<i64>| {
            key.map(AssetKey).ok_or_else(|| StoreError::corrupt("an asset that was made is not there"))
        };
        found.into_iter().map(made).collect()
    }

    /// Makes assets, and returns their keys in their order; `None` where another import has made some of them meanwhile.
    async fn make(&self, assets: &[TenantAsset]) -> Result<Option<Vec<i64>>, StoreError> {
        let count = i64::try_from(assets.len()).unwrap_or(i64::MAX);
        let rows = self.draw.fetch_all(&[&count]).await?;
        let keys: Vec<i64> = rows.first().map(|row| row.try_get("keys")).transpose()?.unwrap_or_default();
        let (tenants, types, ids, names) = columns(assets);
        let made = if self.are_apart {
            self.make_apart(assets, &keys).await?
        } else {
            self.make.run(&[&tenants, &types, &ids, &names, &keys]).await?
        };
        Ok((made == assets.len() as u64).then_some(keys))
    }

    /// By rows of parameters, of a shard each: what a statement selects, Citus copies to the shards first, by a new connection to each.
    async fn make_apart(&self, assets: &[TenantAsset], keys: &[i64]) -> Result<u64, StoreError> {
        let mut made = 0;
        let (tenants, types, ids, names) = columns(assets);
        let parts = self.search.places().parts(assets, |asset| asset.tenant).unwrap_or_default();
        for part in parts.iter().flat_map(|part| part.chunks(MADE_AT_ONCE)) {
            let mut rows = String::new();
            let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(part.len() * 5);
            for &n in part {
                let at = parameters.len();
                let comma = if at == 0 { "" } else { ", " };
                write!(rows, "{comma}(${}, ${}, ${}, ${}, ${})", at + 1, at + 2, at + 3, at + 4, at + 5)
                    .map_err(|_| StoreError::corrupt("no statement"))?;
                parameters.extend([&tenants[n] as &(dyn ToSql + Sync), &types[n], &ids[n], &names[n], &keys[n]]);
            }
            let statement = format!(
                "-- assets: make apart
                INSERT INTO asset (tenant_key, asset_type, asset_id, asset_name, asset_key) VALUES {rows}
                ON CONFLICT DO NOTHING"
            );
            made += self.client.run(&statement, &parameters).await?;
        }
        Ok(made)
    }
}
