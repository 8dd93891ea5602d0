//! What a delivery leaves out: tenants' days that its source has delivered before.

use chrono::NaiveDate;
use uuid::Uuid;

use crate::{
    database::Statements,
    model::{OrganizationId, Source, TenantId},
    store::{ImportSession, LoadKey, StoreError, TenantKey},
};

/// Which part of the world a delivery is about.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// The UTC days of organizations that it speaks of.
    pub days: Vec<(OrganizationId, NaiveDate)>,
    /// The tenants' days that it has records of.
    pub delivered: Vec<LoadKey>,
    /// The tenants' days that it says are empty.
    pub omitted: Vec<LoadKey>,
}

/// A tenant's day that a delivery has no records of, while the source has delivered some before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OmittedDay {
    pub tenant_id: TenantId,
    pub organization_id: OrganizationId,
    pub key: LoadKey,
    /// How many records are in force.
    pub record_count: i32,
}

impl ImportSession {
    /// What a delivery leaves out, ordered by tenant id and day, but no more than that; and how much there is in all.
    pub async fn omitted(&self, coverage: &Coverage, limit: Option<u16>) -> Result<(Vec<OmittedDay>, u64), StoreError> {
        omitted(&self.connections.lookups, &self.source, coverage, limit).await
    }
}

/// Nearly all tenants of an organization are delivered together, so those that are not are sorted out first: only their
/// loads are looked up.
pub(super) async fn omitted(
    client: &impl Statements<Error = tokio_postgres::Error>,
    source: &Source,
    coverage: &Coverage,
    limit: Option<u16>,
) -> Result<(Vec<OmittedDay>, u64), StoreError> {
    if coverage.days.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let organizations: Vec<Uuid> = coverage.days.iter().map(|(organization, _)| organization.as_uuid()).collect();
    let days: Vec<NaiveDate> = coverage.days.iter().map(|&(_, day)| day).collect();
    let tenants: Vec<i64> = coverage.delivered.iter().map(|key| key.tenant.0).collect();
    let tenant_days: Vec<NaiveDate> = coverage.delivered.iter().map(|key| key.usage_day).collect();
    let rows = client
        .fetch_all(
            "-- omitted
            WITH missing AS MATERIALIZED (
                SELECT t.tenant_key, covered.usage_day
                FROM unnest($1::uuid[], $2::date[]) AS covered (organization_id, usage_day)
                JOIN tenant t ON t.organization_id = covered.organization_id
                EXCEPT
                SELECT * FROM unnest($3::bigint[], $4::date[])
            )
            SELECT t.tenant_id, t.organization_id, missing.tenant_key, missing.usage_day, present.record_count, count(*) OVER () AS total
            FROM missing
            CROSS JOIN LATERAL loads_in_force(missing.tenant_key, missing.usage_day, missing.usage_day, 'infinity')
                AS present
            JOIN tenant t ON t.tenant_key = missing.tenant_key
            WHERE present.source = $5 AND present.record_count > 0
            ORDER BY t.tenant_id, missing.usage_day
            LIMIT $6",
            &[&organizations, &days, &tenants, &tenant_days, &source.as_str(), &limit.map(i64::from)],
        )
        .await?;
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    let omitted = rows
        .iter()
        .map(|row| {
            Ok(OmittedDay {
                tenant_id: TenantId::from_uuid(row.try_get("tenant_id")?),
                organization_id: OrganizationId::from_uuid(row.try_get("organization_id")?),
                key: LoadKey { tenant: TenantKey(row.try_get("tenant_key")?), usage_day: row.try_get("usage_day")? },
                record_count: row.try_get("record_count")?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok((omitted, u64::try_from(total).unwrap_or(0)))
}
