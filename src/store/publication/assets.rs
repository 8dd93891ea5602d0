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
    /// Of the tenants of the last records.
    tenants: HashMap<TenantKey, HashMap<Arc<Asset>, AssetKey>>,
}

impl<'a> AssetKeys<'a> {
    pub(super) async fn new(client: &'a Client) -> Result<Self, StoreError> {
        // The plan that knows nothing of tenants, and looks each asset up, is the right one also where statistics are from when there
        // were few.
        client
            .run_script("-- assets: plan\nSET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
            .await?;
        let find = PreparedStatement::new(
            client,
            "-- assets: find
                SELECT w.n, a.asset_key
                FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[])
                     WITH ORDINALITY AS w (tenant_key, asset_type, asset_id, asset_name, n)
                CROSS JOIN LATERAL (
                    SELECT asset_key FROM asset
                    WHERE tenant_key = w.tenant_key AND asset_type = w.asset_type AND asset_id = w.asset_id
                      AND asset_name = w.asset_name
                    OFFSET 0
                ) a",
        )
        .await?;
        let make = PreparedStatement::new(
            client,
            "-- assets: make
                INSERT INTO asset (tenant_key, asset_type, asset_id, asset_name)
                SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[])
                ON CONFLICT DO NOTHING",
        )
        .await?;
        Ok(Self { client, find, make, tenants: HashMap::new() })
    }

    /// Makes sure that the keys of these records' assets are known.
    pub(super) async fn resolve(
        &mut self,
        records: &[RecordToWrite],
        tenant_of: impl Fn(&RecordToWrite) -> TenantKey,
    ) -> Result<(), StoreError> {
        let Some(first) = records.first() else { return Ok(()) };
        let (first, mut missing) = (tenant_of(first), Vec::<TenantAsset>::new());
        self.tenants.retain(|tenant, keys| *tenant == first && keys.len() <= MAX_CACHED);
        for record in records {
            let tenant = tenant_of(record);
            // Records of one asset follow each other.
            let is_last =
                missing.last().is_some_and(|last| last.tenant == tenant && Arc::ptr_eq(&last.asset, &record.asset));
            if !is_last && !self.tenants.get(&tenant).is_some_and(|keys| keys.contains_key(&record.asset)) {
                missing.push(TenantAsset { tenant, asset: Arc::clone(&record.asset) });
            }
        }
        // Imports that make the same assets at once wait for each other in one order.
        missing.sort();
        missing.dedup();
        let new = self.find(missing).await?;
        if new.is_empty() {
            return Ok(());
        }
        let (tenants, types, ids, names) = columns(&new);
        self.make.run(&[&tenants, &types, &ids, &names]).await?;
        // Asked again rather than returned: another import may have made some of them meanwhile.
        let lost = self.find(new).await?;
        if lost.is_empty() { Ok(()) } else { Err(StoreError::corrupt("an asset that was made is not there")) }
    }

    /// Gives the connection back as it was.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        Ok(self.client.run_script("-- assets: plan\nRESET plan_cache_mode; RESET enable_seqscan").await?)
    }

    /// The keys of a tenant's assets, as far as records with them were resolved.
    pub(super) fn of(&self, tenant: TenantKey) -> Result<&HashMap<Arc<Asset>, AssetKey>, StoreError> {
        self.tenants.get(&tenant).ok_or_else(|| StoreError::corrupt("a tenant's assets were not resolved"))
    }

    /// Looks assets up; returns those that are not there.
    async fn find(&mut self, mut assets: Vec<TenantAsset>) -> Result<Vec<TenantAsset>, StoreError> {
        if assets.is_empty() {
            return Ok(assets);
        }
        let (tenants, types, ids, names) = columns(&assets);
        let rows = self.find.fetch_all(&[&tenants, &types, &ids, &names]).await?;
        for row in &rows {
            let position: i64 = row.try_get("n")?;
            let found = usize::try_from(position - 1).ok().and_then(|index| assets.get(index));
            let found = found.ok_or_else(|| StoreError::corrupt("an asset has no position"))?;
            let keys = self.tenants.entry(found.tenant).or_default();
            keys.insert(Arc::clone(&found.asset), AssetKey(row.try_get("asset_key")?));
        }
        assets.retain(|wanted| !self.tenants.get(&wanted.tenant).is_some_and(|keys| keys.contains_key(&wanted.asset)));
        Ok(assets)
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct TenantAsset {
    tenant: TenantKey,
    asset: Arc<Asset>,
}

fn columns(assets: &[TenantAsset]) -> (Vec<i64>, Vec<i16>, Vec<&str>, Vec<&str>) {
    let tenants = assets.iter().map(|wanted| wanted.tenant.0).collect();
    let types = assets.iter().map(|wanted| wanted.asset.asset_type.code()).collect();
    let ids = assets.iter().map(|wanted| wanted.asset.id.as_str()).collect();
    let names = assets.iter().map(|wanted| wanted.asset.name.as_str()).collect();
    (tenants, types, ids, names)
}
