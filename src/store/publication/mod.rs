//! Publishing loads: everything in one transaction, so that a killed import leaves nothing behind.

mod alike;
mod assets;
mod coverage;
mod publish;

use std::collections::HashMap;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use tokio_postgres::Client;

use super::{MeterKey, Meters, Store, StoreConfig, StoreError, scope, tenants::TenantKey};
use crate::{
    auth::TenantScope,
    database::{Statements, connect, numeric::parse_sum},
    model::{Asset, Decimal, Month, OrganizationId, RecordDimensions, Source, TenantId, UsageKey, UtcTime},
};

pub use alike::UnicodeAsset;
pub use coverage::{Coverage, OmittedDay};
pub use publish::{Publication, PublishedLoad};

/// What loads of one source supersede each other by: a tenant's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadKey {
    /// Whose usage.
    pub tenant: TenantKey,
    /// The UTC day.
    pub usage_day: NaiveDate,
}

/// A load to publish, with what its records add up to.
#[derive(Clone, Debug)]
pub struct NewLoad {
    /// Whose usage of which day.
    pub key: LoadKey,
    /// The month of the day.
    pub month: Month,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// How many records it has.
    pub record_count: i32,
    /// What they add up to.
    pub totals: Vec<NewTotal>,
}

/// A sum over the records of a load.
#[derive(Clone, Debug)]
pub struct NewTotal {
    /// Of which meter, region and trial.
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    /// Of how many records.
    pub record_count: i32,
}

/// A record of a load to publish.
#[derive(Clone, Debug)]
pub struct RecordToWrite {
    /// The position of its load among those to publish.
    pub load: usize,
    /// Position in the load: 1, 2, 3, ...
    pub row_number: i32,
    /// What generated it.
    pub asset: std::sync::Arc<Asset>,
    pub dimensions: RecordDimensions<MeterKey>,
    /// The amount.
    pub quantity: Decimal,
}

/// A load that a new one would supersede.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadInForce {
    /// Key within the tenant.
    pub id: i64,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// How many records it has.
    pub record_count: i32,
    /// When it was published.
    pub published_at: UtcTime,
    /// Whether its records are kept no longer: then the same content is worth another load.
    pub is_purged: bool,
}

/// What an import went by when it checked and compared: it holds still, or nothing is published.
pub struct Assumed {
    /// Loads that were left out, since the same content was in force.
    pub unchanged: Vec<(LoadKey, [u8; 32])>,
    /// The tenants of all loads.
    pub tenants: Vec<ImportTenant>,
    /// The meters.
    pub meters: Meters,
    /// What a complete delivery says is empty; `None`: the delivery says nothing of what it leaves out.
    pub coverage: Option<Coverage>,
}

/// A tenant that usage may be imported for.
#[derive(Clone, Copy, Debug)]
pub struct ImportTenant {
    /// The key.
    pub key: TenantKey,
    /// Whose tenant.
    pub organization_id: OrganizationId,
}

impl LoadInForce {
    /// Whether this content is there already.
    pub fn has(&self, digest: &[u8; 32]) -> bool {
        self.digest == *digest && !self.is_purged
    }
}

/// Two connections: one for the transaction that publishes, one for what is looked up meanwhile.
pub struct ImportSession {
    publisher: Client,
    lookups: Client,
    source: Source,
}

impl Store {
    /// The tenants that a caller may import for.
    pub async fn import_tenants(&self, scope: &TenantScope) -> Result<HashMap<TenantId, ImportTenant>, StoreError> {
        let client = self.short().await?;
        let statement = format!(
            "-- import_tenants\nSELECT tenant_key, tenant_id, organization_id FROM tenant WHERE {}",
            scope::condition("organization_id", "$1")
        );
        let rows = client.fetch_all(&statement, &[&scope::bind(scope)]).await?;
        rows.iter()
            .map(|row| {
                let tenant = ImportTenant {
                    key: TenantKey(row.try_get("tenant_key")?),
                    organization_id: OrganizationId::from_uuid(row.try_get("organization_id")?),
                };
                Ok((TenantId::from_uuid(row.try_get("tenant_id")?), tenant))
            })
            .collect()
    }
}

// === impl ImportSession ===

impl ImportSession {
    /// Connects for an import of a source.
    pub async fn open(config: &StoreConfig, source: Source) -> Result<Self, StoreError> {
        let open = || connect(&config.database_url, config.connect_timeout);
        let (publisher, lookups) = (open().await?, open().await?);
        Ok(Self { publisher, lookups, source })
    }

    /// The loads in force for tenants' days.
    pub async fn in_force(&self, keys: &[LoadKey]) -> Result<HashMap<LoadKey, LoadInForce>, StoreError> {
        in_force(&self.lookups, &self.source, keys).await
    }

    /// When contents were published before a moment: the last time of each, for those that were.
    pub async fn earlier_publications(
        &self,
        contents: &[(LoadKey, [u8; 32], UtcTime)],
    ) -> Result<HashMap<LoadKey, UtcTime>, StoreError> {
        if contents.is_empty() {
            return Ok(HashMap::new());
        }
        let tenants: Vec<i64> = contents.iter().map(|(key, ..)| key.tenant.0).collect();
        let days: Vec<NaiveDate> = contents.iter().map(|(key, ..)| key.usage_day).collect();
        let digests: Vec<&[u8]> = contents.iter().map(|(_, digest, _)| digest.as_slice()).collect();
        let before: Vec<_> = contents.iter().map(|(.., before)| before.as_chrono()).collect();
        let rows = self
            .lookups
            .fetch_all(
                "-- earlier_publications
                SELECT l.tenant_key, l.usage_day, max(l.published_at) AS published_at
                FROM unnest($1::bigint[], $2::date[], $3::bytea[], $4::timestamptz[])
                     AS wanted (tenant_key, usage_day, digest, before)
                JOIN usage_load l ON l.tenant_key = wanted.tenant_key
                                 AND l.usage_month = date_trunc('month', wanted.usage_day)::date
                                 AND l.usage_day = wanted.usage_day AND l.digest = wanted.digest
                                 AND l.published_at < wanted.before
                WHERE l.source = $5
                GROUP BY l.tenant_key, l.usage_day",
                &[&tenants, &days, &digests, &before, &self.source.as_str()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let tenant = TenantKey(row.try_get("tenant_key")?);
                let key = LoadKey { tenant, usage_day: row.try_get("usage_day")? };
                Ok((key, UtcTime::from_chrono(row.try_get("published_at")?)))
            })
            .collect()
    }

    /// For contents that are in force from another source too: one such source.
    pub async fn same_from_other_sources(
        &self,
        contents: &[(LoadKey, [u8; 32])],
    ) -> Result<HashMap<LoadKey, String>, StoreError> {
        if contents.is_empty() {
            return Ok(HashMap::new());
        }
        let tenants: Vec<i64> = contents.iter().map(|(key, _)| key.tenant.0).collect();
        let days: Vec<NaiveDate> = contents.iter().map(|(key, _)| key.usage_day).collect();
        let digests: Vec<&[u8]> = contents.iter().map(|(_, digest)| digest.as_slice()).collect();
        let rows = self
            .lookups
            .fetch_all(
                "-- same_from_other_sources
                SELECT l.tenant_key, l.usage_day, min(l.source) AS source
                FROM unnest($1::bigint[], $2::date[], $3::bytea[]) AS wanted (tenant_key, usage_day, digest)
                CROSS JOIN LATERAL loads_in_force(wanted.tenant_key, wanted.usage_day, wanted.usage_day, 'infinity') l
                WHERE l.digest = wanted.digest AND l.source <> $4
                GROUP BY l.tenant_key, l.usage_day",
                &[&tenants, &days, &digests, &self.source.as_str()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let tenant = TenantKey(row.try_get("tenant_key")?);
                Ok((LoadKey { tenant, usage_day: row.try_get("usage_day")? }, row.try_get("source")?))
            })
            .collect()
    }

    /// What loads add up to, per load and meter.
    pub async fn meter_totals(
        &self,
        loads: &[(TenantKey, i64)],
    ) -> Result<Vec<((TenantKey, i64), MeterKey, BigDecimal)>, StoreError> {
        if loads.is_empty() {
            return Ok(Vec::new());
        }
        let tenants: Vec<i64> = loads.iter().map(|(tenant, _)| tenant.0).collect();
        let ids: Vec<i64> = loads.iter().map(|&(_, id)| id).collect();
        let rows = self
            .lookups
            .fetch_all(
                "-- meter_totals
                SELECT t.tenant_key, t.load_id, t.meter_key, sum(t.quantity)::text AS quantity
                FROM unnest($1::bigint[], $2::bigint[]) AS wanted (tenant_key, load_id)
                JOIN usage_total t ON t.tenant_key = wanted.tenant_key AND t.load_id = wanted.load_id
                GROUP BY t.tenant_key, t.load_id, t.meter_key",
                &[&tenants, &ids],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let load = (TenantKey(row.try_get("tenant_key")?), row.try_get("load_id")?);
                let quantity = parse_sum(row.try_get("quantity")?)?;
                Ok((load, MeterKey(row.try_get("meter_key")?), quantity))
            })
            .collect()
    }
}

async fn in_force(
    client: &impl Statements<Error = tokio_postgres::Error>,
    source: &Source,
    keys: &[LoadKey],
) -> Result<HashMap<LoadKey, LoadInForce>, StoreError> {
    let tenants: Vec<i64> = keys.iter().map(|key| key.tenant.0).collect();
    let days: Vec<NaiveDate> = keys.iter().map(|key| key.usage_day).collect();
    let rows = client
        .fetch_all(
            "-- in_force
            SELECT l.tenant_key, l.usage_day, l.load_id, l.digest, l.record_count, l.published_at,
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
            let digest: &[u8] = row.try_get("digest")?;
            let load = LoadInForce {
                id: row.try_get("load_id")?,
                digest: digest.try_into().map_err(|_| StoreError::corrupt("a digest is not of 32 bytes"))?,
                record_count: row.try_get("record_count")?,
                published_at: UtcTime::from_chrono(row.try_get("published_at")?),
                is_purged: row.try_get("is_purged")?,
            };
            Ok((key, load))
        })
        .collect()
}
