//! Statements about the records and assets of several tenants. Where these lie apart, each is of tenants of one shard of Citus, which
//! can then run any statement where they are.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use tokio_postgres::{Client, types::ToSql};

use crate::{
    database::Statements as _,
    store::{Layout, StoreError, TenantKey},
};

/// Where some tenants have their records.
pub(super) struct Places {
    /// `None`: all of them on one machine.
    shards: Option<HashMap<TenantKey, i64, RandomState>>,
}

// === impl Places ===

impl Places {
    pub(super) async fn of(
        client: &Client,
        layout: Layout,
        tenants: impl Iterator<Item = TenantKey>,
    ) -> Result<Self, StoreError> {
        if layout != Layout::Apart {
            return Ok(Self { shards: None });
        }
        let statement = "-- shards_of_tenants
            SELECT tenant_key, get_shard_id_for_distribution_column('asset', tenant_key) AS shard
            FROM unnest($1::bigint[]) AS tenant_key";
        let rows = client.fetch_all(statement, &[&distinct(tenants)]).await?;
        let shard = |row: &tokio_postgres::Row| Ok((TenantKey(row.try_get("tenant_key")?), row.try_get("shard")?));
        Ok(Self { shards: Some(rows.iter().map(shard).collect::<Result<_, StoreError>>()?) })
    }

    /// Whether it is not this machine that has them.
    pub(super) fn are_apart(&self) -> bool {
        self.shards.is_some()
    }

    /// The positions of those that are of one place, for each place; `None` where all of them are.
    pub(super) fn parts<T>(&self, all: &[T], tenant: impl Fn(&T) -> TenantKey) -> Option<Vec<Vec<usize>>> {
        let shards = self.shards.as_ref()?;
        let mut parts: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (n, one) in all.iter().enumerate() {
            parts.entry(shards.get(&tenant(one)).copied().unwrap_or_default()).or_default().push(n);
        }
        Some(parts.into_values().collect())
    }

    /// What a statement says besides `tenant_key = …` of each, by which its shard is found.
    pub(super) fn condition(&self, parameter: usize) -> String {
        if self.shards.is_none() { String::new() } else { format!(" AND tenant_key = ANY (${parameter})") }
    }

    /// What that parameter is.
    pub(super) fn bind(&self, tenants: &[i64]) -> Option<Vec<i64>> {
        self.shards.as_ref().map(|_| distinct(tenants.iter().map(|&tenant| TenantKey(tenant))))
    }
}

/// Parameters, and one more where there is one.
pub(super) fn with<'a>(
    mut parameters: Vec<&'a (dyn ToSql + Sync)>,
    more: Option<&'a Vec<i64>>,
) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.extend(more.map(|more| more as &(dyn ToSql + Sync)));
    parameters
}

fn distinct(tenants: impl Iterator<Item = TenantKey>) -> Vec<i64> {
    let mut keys: Vec<i64> = tenants.map(|tenant| tenant.0).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
