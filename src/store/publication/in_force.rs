//! Loads in force for the days of an import.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    database::Statements,
    model::{DigestVersion, LoadDigest, Source, UtcTime},
    store::{ImportSession, LoadKey, StoreError, TenantKey, clock, columns},
};

/// Loads in force, for the days of an import.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// What was published last of all before they were asked for.
    pub(super) last_published_at: DateTime<Utc>,
    /// Those of the import's source.
    own: HashMap<LoadKey, LoadInForce>,
    /// Source and digest of the others.
    others: HashMap<LoadKey, Vec<(String, [u8; 32])>>,
}

/// Whose loads are asked for.
#[derive(Clone, Copy)]
pub(super) enum Sources {
    Own,
    All,
}

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

// === impl InForce ===

impl InForce {
    /// The one that a load of the import would supersede.
    pub fn own(&self, key: LoadKey) -> Option<&LoadInForce> {
        self.own.get(&key)
    }

    /// Another source that has the same content for the same day.
    pub fn other_source(&self, key: LoadKey, digest: &LoadDigest) -> Option<&str> {
        let others = self.others.get(&key)?.iter().filter(|(_, sha256)| *sha256 == digest.sha256);
        others.map(|(source, _)| source.as_str()).min()
    }
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
    pub async fn in_force(&self, keys: &[LoadKey]) -> Result<InForce, StoreError> {
        let lookups = &self.connections.lookups;
        // In this order: what is published between the two is seen, and taken for newer.
        let last_published_at = clock::last_published(lookups).await?;
        Ok(InForce { last_published_at, ..in_force(lookups, &self.source, keys, Sources::All).await? })
    }
}

/// Those that are published now.
pub(super) async fn in_force(
    client: &impl Statements<Error = tokio_postgres::Error>,
    source: &Source,
    keys: &[LoadKey],
    sources: Sources,
) -> Result<InForce, StoreError> {
    let tenants: Vec<i64> = keys.iter().map(|key| key.tenant.0).collect();
    let days: Vec<NaiveDate> = keys.iter().map(|key| key.usage_day).collect();
    let only = matches!(sources, Sources::Own).then_some(source.as_str());
    let rows = client
        .fetch_all(
            "-- in_force
            SELECT l.tenant_key, l.usage_day, l.source, l.load_id, l.digest_version, l.digest, l.record_count,
                   l.published_at,
                   l.records_purged_at IS NOT NULL AS is_purged
            FROM unnest($1::bigint[], $2::date[]) AS wanted (tenant_key, usage_day)
            CROSS JOIN LATERAL loads_in_force(wanted.tenant_key, wanted.usage_day, wanted.usage_day, 'infinity') l
            WHERE $3::text IS NULL OR l.source = $3",
            &[&tenants, &days, &only],
        )
        .await?;
    let mut in_force = InForce::default();
    for row in &rows {
        let key = LoadKey { tenant: TenantKey(row.try_get("tenant_key")?), usage_day: row.try_get("usage_day")? };
        let from: &str = row.try_get("source")?;
        let sha256 = columns::bytes(row, "digest")?;
        if from != source.as_str() {
            in_force.others.entry(key).or_default().push((from.to_owned(), sha256));
            continue;
        }
        let version: i16 = row.try_get("digest_version")?;
        let version = DigestVersion::from_number(version)
            .ok_or_else(|| StoreError::corrupt(format!("there is no version {version} of digests")))?;
        let load = LoadInForce {
            id: row.try_get("load_id")?,
            digest: LoadDigest { version, sha256 },
            record_count: row.try_get("record_count")?,
            published_at: UtcTime::from_chrono(row.try_get("published_at")?),
            is_purged: row.try_get("is_purged")?,
        };
        in_force.own.insert(key, load);
    }
    Ok(in_force)
}
