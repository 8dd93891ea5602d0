//! Keys of assets: looked up, or made where an asset is new.
//!
//! New assets are committed at once, apart from the import's transaction: two imports of one tenant then never wait for
//! each other's assets. One that no record names yet shows in no report.

use std::{collections::HashMap, sync::Arc};

use tokio_postgres::Client;

use crate::{
    database::{PreparedStatement, Scripts as _},
    model::Asset,
    store::{AssetKey, RecordToWrite, StoreError, TenantKey},
};

/// Past so many assets, what was looked up for a tenant is forgotten: records come sorted, so little is lost.
const MAX_CACHED: usize = 100_000;

pub(super) struct AssetKeys<'a> {
    client: &'a Client,
    find: PreparedStatement<'a>,
    make: PreparedStatement<'a>,
    tenant: Option<TenantKey>,
    keys: HashMap<Arc<Asset>, AssetKey>,
}

impl<'a> AssetKeys<'a> {
    pub(super) async fn new(client: &'a Client) -> Result<Self, StoreError> {
        // The plan that knows nothing of the tenant is the right one for those that the statistics do not know yet.
        client.run_script("-- assets: plan\nSET plan_cache_mode = force_generic_plan").await?;
        let find = PreparedStatement::new(client,
                "-- assets: find
                SELECT w.n, a.asset_key
                FROM unnest($2::smallint[], $3::text[], $4::text[]) WITH ORDINALITY AS w (asset_type, asset_id, asset_name, n)
                JOIN asset a ON a.tenant_key = $1 AND a.asset_type = w.asset_type
                            AND a.asset_id = w.asset_id AND a.asset_name = w.asset_name",
            )
            .await?;
        let make = PreparedStatement::new(
            client,
            "-- assets: make
                INSERT INTO asset (tenant_key, asset_type, asset_id, asset_name)
                SELECT $1, * FROM unnest($2::smallint[], $3::text[], $4::text[])
                ON CONFLICT DO NOTHING",
        )
        .await?;
        Ok(Self { client, find, make, tenant: None, keys: HashMap::new() })
    }

    /// Makes sure that the keys of these records' assets are known. They are all of one tenant.
    pub(super) async fn resolve(&mut self, tenant: TenantKey, records: &[RecordToWrite]) -> Result<(), StoreError> {
        if self.tenant != Some(tenant) || self.keys.len() > MAX_CACHED {
            self.tenant = Some(tenant);
            self.keys.clear();
        }
        let mut missing: Vec<Arc<Asset>> = Vec::new();
        for record in records {
            // Records of one asset follow each other.
            let is_last = missing.last().is_some_and(|last| Arc::ptr_eq(last, &record.asset));
            if !is_last && !self.keys.contains_key(&record.asset) {
                missing.push(Arc::clone(&record.asset));
            }
        }
        missing.sort();
        missing.dedup();
        let new = self.find(tenant, missing).await?;
        if new.is_empty() {
            return Ok(());
        }
        let (types, ids, names) = columns(&new);
        self.make.run(&[&tenant.0, &types, &ids, &names]).await?;
        // Asked again rather than returned: another import may have made some of them meanwhile.
        let lost = self.find(tenant, new).await?;
        if lost.is_empty() { Ok(()) } else { Err(StoreError::corrupt("an asset that was made is not there")) }
    }

    /// Gives the connection back as it was.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        Ok(self.client.run_script("-- assets: plan\nRESET plan_cache_mode").await?)
    }

    /// The key of an asset of a resolved record.
    pub(super) fn get(&self, asset: &Arc<Asset>) -> Result<AssetKey, StoreError> {
        self.keys.get(asset).copied().ok_or_else(|| StoreError::corrupt("an asset was not resolved"))
    }

    /// Looks assets up; returns those that are not there.
    async fn find(&mut self, tenant: TenantKey, mut assets: Vec<Arc<Asset>>) -> Result<Vec<Arc<Asset>>, StoreError> {
        if assets.is_empty() {
            return Ok(assets);
        }
        let (types, ids, names) = columns(&assets);
        let rows = self.find.fetch_all(&[&tenant.0, &types, &ids, &names]).await?;
        for row in &rows {
            let position: i64 = row.try_get("n")?;
            let found = usize::try_from(position - 1).ok().and_then(|index| assets.get(index));
            let asset = found.ok_or_else(|| StoreError::corrupt("an asset has no position"))?;
            self.keys.insert(Arc::clone(asset), AssetKey(row.try_get("asset_key")?));
        }
        assets.retain(|asset| !self.keys.contains_key(asset));
        Ok(assets)
    }
}

fn columns(assets: &[Arc<Asset>]) -> (Vec<i16>, Vec<&str>, Vec<&str>) {
    let types = assets.iter().map(|asset| asset.asset_type.code()).collect();
    let ids = assets.iter().map(|asset| asset.id.as_str()).collect();
    let names = assets.iter().map(|asset| asset.name.as_str()).collect();
    (types, ids, names)
}
