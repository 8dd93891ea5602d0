//! Loads in force for the days of an import.

use std::collections::HashMap;

use chrono::NaiveDate;

use crate::{
    database::Statements,
    model::{DigestVersion, LoadDigest, Source, UtcTime},
    store::{ImportSession, LoadKey, StoreError, TenantKey, columns},
};

/// A load that a new one would supersede.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadInForce {
    /// Key within the tenant.
    pub id: i64,
    pub digest: LoadDigest,
    pub record_count: i32,
    pub published_at: UtcTime,
    /// Whether its records are kept no longer: then the same content is worth another load.
    pub is_purged: bool,
}

// === impl LoadInForce ===

impl LoadInForce {
    /// Whether this content is there already.
    pub fn has(&self, digest: &LoadDigest) -> bool {
        self.digest == *digest && !self.is_purged
    }
}

impl ImportSession {
    /// The loads in force for tenants' days.
    pub async fn in_force(&self, keys: &[LoadKey]) -> Result<HashMap<LoadKey, LoadInForce>, StoreError> {
        in_force(&self.connections.lookups, &self.source, keys).await
    }
}

/// Those that are published now.
pub(super) async fn in_force(
    client: &impl Statements<Error = tokio_postgres::Error>,
    source: &Source,
    keys: &[LoadKey],
) -> Result<HashMap<LoadKey, LoadInForce>, StoreError> {
    let tenants: Vec<i64> = keys.iter().map(|key| key.tenant.0).collect();
    let days: Vec<NaiveDate> = keys.iter().map(|key| key.usage_day).collect();
    let rows = client
        .fetch_all(
            "-- in_force
            SELECT l.tenant_key, l.usage_day, l.load_id, l.digest_version, l.digest, l.record_count,
                   l.published_at,
                   l.records_purged_at IS NOT NULL AS is_purged
            FROM unnest($1::bigint[], $2::date[]) AS wanted (tenant_key, usage_day)
            CROSS JOIN LATERAL loads_in_force(wanted.tenant_key, wanted.usage_day, wanted.usage_day, 'infinity') l
            WHERE l.source = $3",
            &[&tenants, &days, &source.as_str()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let key = LoadKey { tenant: TenantKey(row.try_get("tenant_key")?), usage_day: row.try_get("usage_day")? };
            let version: i16 = row.try_get("digest_version")?;
            let load = LoadInForce {
                id: row.try_get("load_id")?,
                digest: LoadDigest {
                    version: DigestVersion::from_number(version)
                        .ok_or_else(|| StoreError::corrupt(format!("there is no version {version} of digests")))?,
                    sha256: columns::bytes(row, "digest")?,
                },
                record_count: row.try_get("record_count")?,
                published_at: UtcTime::from_chrono(row.try_get("published_at")?),
                is_purged: row.try_get("is_purged")?,
            };
            Ok((key, load))
        })
        .collect()
}
