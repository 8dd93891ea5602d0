//! Applying a catalog: all of it in one transaction, or nothing.

mod prices;

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{StoreError, locks, tenants::search_text};
use crate::catalog::{Catalog, InvalidCatalog, Organization, Problem, Tenant};
use crate::database::{Statements as _, connect};
use crate::model::Meter;

/// How many entries of a kind were created, changed, or were so already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New.
    pub created: usize,
    /// Changed.
    pub updated: usize,
    /// As declared already.
    pub unchanged: usize,
}

/// What applying a catalog did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogChanges {
    /// To organizations.
    pub organizations: Changes,
    /// To tenants.
    pub tenants: Changes,
    /// To meters.
    pub meters: Changes,
    /// To prices.
    pub prices: Changes,
}

/// A catalog was not applied.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It does not fit what is there.
    #[error(transparent)]
    Invalid(#[from] InvalidCatalog),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for CatalogError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Applies a catalog. What it names is created or changed; the rest stays.
pub async fn apply(database_url: &str, catalog: &Catalog) -> Result<CatalogChanges, CatalogError> {
    let mut client = connect(database_url, Duration::from_secs(10)).await.map_err(StoreError::from)?;
    let transaction = client.transaction().await?;
    // Prices are published as loads are; the lock also makes two applies take turns.
    locks::lock_publishing(&transaction).await?;
    let mut problems = Vec::new();
    let changes = CatalogChanges {
        organizations: organizations(&transaction, &catalog.organizations, &mut problems).await?,
        tenants: tenants(&transaction, &catalog.tenants, &mut problems).await?,
        meters: meters(&transaction, &catalog.meters, &mut problems).await?,
        prices: prices::apply(&transaction, &catalog.prices, &mut problems).await?,
    };
    if !problems.is_empty() {
        // Dropping the transaction rolls it back.
        return Err(InvalidCatalog(problems).into());
    }
    transaction.commit().await?;
    Ok(changes)
}

async fn organizations(
    transaction: &Transaction<'_>,
    declared: &[Organization],
    problems: &mut Vec<Problem>,
) -> Result<Changes, CatalogError> {
    let ids: Vec<Uuid> = declared.iter().map(|organization| organization.id.as_uuid()).collect();
    let rows = transaction
        .fetch_all(
            "-- catalog: organizations that are there
            SELECT o.organization_id, o.name, o.currency,
                   EXISTS (SELECT FROM tenant t JOIN usage_load l USING (tenant_key)
                           WHERE t.organization_id = o.organization_id) AS has_usage
            FROM organization o WHERE o.organization_id = ANY ($1)",
            &[&ids],
        )
        .await?;
    let mut present = HashMap::new();
    for row in &rows {
        let id: Uuid = row.try_get("organization_id")?;
        let entry: (String, String, bool) = (row.try_get("name")?, row.try_get("currency")?, row.try_get("has_usage")?);
        present.insert(id, entry);
    }
    let mut changes = Changes::default();
    let mut write = Vec::new();
    let mut renamed = Vec::new();
    for (index, organization) in declared.iter().enumerate() {
        let code = organization.currency.code();
        match present.get(&organization.id.as_uuid()) {
            None => changes.created += 1,
            Some((name, currency, _)) if *name == organization.name && currency == code => {
                changes.unchanged += 1;
                continue;
            }
            Some((_, currency, true)) if currency != code => {
                problems.push(Problem {
                    place: format!("organizations[{index}].currency"),
                    reason: format!(
                        "\"{code}\": the organization has usage billed in {currency}, which stays its currency"
                    ),
                });
                continue;
            }
            Some((name, ..)) => {
                changes.updated += 1;
                if *name != organization.name {
                    renamed.push(organization);
                }
            }
        }
        write.push(organization);
    }
    let ids: Vec<Uuid> = write.iter().map(|organization| organization.id.as_uuid()).collect();
    let names: Vec<&str> = write.iter().map(|organization| organization.name.as_str()).collect();
    let currencies: Vec<&str> = write.iter().map(|organization| organization.currency.code()).collect();
    transaction
        .run(
            "-- catalog: organizations
            INSERT INTO organization (organization_id, name, currency)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
            ON CONFLICT (organization_id) DO UPDATE SET name = excluded.name, currency = excluded.currency",
            &[&ids, &names, &currencies],
        )
        .await?;
    rename_in_tenants(transaction, &renamed).await?;
    Ok(changes)
}

/// Tenants keep the name of their organization, in their search text, too.
async fn rename_in_tenants(transaction: &Transaction<'_>, organizations: &[&Organization]) -> Result<(), StoreError> {
    for organization in organizations {
        let rows = transaction
            .fetch_all(
                "-- catalog: tenants of a renamed organization
                SELECT tenant_key, name FROM tenant WHERE organization_id = $1",
                &[&organization.id.as_uuid()],
            )
            .await?;
        let mut keys: Vec<i64> = Vec::new();
        let mut texts = Vec::new();
        for row in &rows {
            let name: String = row.try_get("name")?;
            keys.push(row.try_get("tenant_key")?);
            texts.push(search_text(&name, &organization.name));
        }
        transaction
            .run(
                "-- catalog: names of tenants' organizations
                UPDATE tenant t SET search_text = renamed.search_text, organization_name = $3
                FROM unnest($1::bigint[], $2::text[]) AS renamed (tenant_key, search_text)
                WHERE t.tenant_key = renamed.tenant_key",
                &[&keys, &texts, &organization.name],
            )
            .await?;
    }
    Ok(())
}

/// A tenant as it stands in the database.
struct PresentTenant {
    organization_id: Uuid,
    name: String,
    plan: String,
    status: i16,
    trial: bool,
    trial_expiry: Option<DateTime<Utc>>,
    has_usage: bool,
}

impl PresentTenant {
    fn is_as(&self, tenant: &Tenant) -> bool {
        self.organization_id == tenant.organization_id.as_uuid()
            && self.name == tenant.name
            && self.plan == tenant.plan
            && self.status == tenant.status.code()
            && self.trial == tenant.trial
            && self.trial_expiry == tenant.trial_expiry.map(crate::model::UtcTime::as_chrono)
    }
}

async fn tenants(
    transaction: &Transaction<'_>,
    declared: &[Tenant],
    problems: &mut Vec<Problem>,
) -> Result<Changes, CatalogError> {
    let organizations = organization_names(transaction, declared).await?;
    let present = present_tenants(transaction, declared).await?;
    let mut changes = Changes::default();
    let mut write = Vec::new();
    for (index, tenant) in declared.iter().enumerate() {
        let place = format!("tenants[{index}].organization_id");
        let Some(organization_name) = organizations.get(&tenant.organization_id.as_uuid()) else {
            let reason = format!(
                "\"{}\": there is no such organization, in the file or in the database",
                tenant.organization_id
            );
            problems.push(Problem { place, reason });
            continue;
        };
        match present.get(&tenant.id.as_uuid()) {
            None => changes.created += 1,
            Some(present) if present.is_as(tenant) => {
                changes.unchanged += 1;
                continue;
            }
            Some(present) if present.has_usage && present.organization_id != tenant.organization_id.as_uuid() => {
                let reason = format!(
                    "\"{}\": the tenant has usage as a tenant of {}, and stays there",
                    tenant.organization_id, present.organization_id
                );
                problems.push(Problem { place, reason });
                continue;
            }
            Some(_) => changes.updated += 1,
        }
        write.push((tenant, search_text(&tenant.name, organization_name)));
    }
    write_tenants(transaction, &write).await?;
    Ok(changes)
}

async fn organization_names(
    transaction: &Transaction<'_>,
    tenants: &[Tenant],
) -> Result<HashMap<Uuid, String>, StoreError> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.organization_id.as_uuid()).collect();
    let rows = transaction
        .fetch_all(
            "-- catalog: organizations of tenants
            SELECT organization_id, name FROM organization WHERE organization_id = ANY ($1)",
            &[&ids],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get("organization_id")?, row.try_get("name")?))).collect()
}

async fn present_tenants(
    transaction: &Transaction<'_>,
    declared: &[Tenant],
) -> Result<HashMap<Uuid, PresentTenant>, StoreError> {
    let ids: Vec<Uuid> = declared.iter().map(|tenant| tenant.id.as_uuid()).collect();
    let rows = transaction
        .fetch_all(
            "-- catalog: tenants that are there
            SELECT t.tenant_id, t.organization_id, t.name, t.plan, t.status, t.trial, t.trial_expiry,
                   EXISTS (SELECT FROM usage_load l WHERE l.tenant_key = t.tenant_key) AS has_usage
            FROM tenant t WHERE t.tenant_id = ANY ($1)",
            &[&ids],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let tenant = PresentTenant {
                organization_id: row.try_get("organization_id")?,
                name: row.try_get("name")?,
                plan: row.try_get("plan")?,
                status: row.try_get("status")?,
                trial: row.try_get("trial")?,
                trial_expiry: row.try_get("trial_expiry")?,
                has_usage: row.try_get("has_usage")?,
            };
            Ok((row.try_get("tenant_id")?, tenant))
        })
        .collect()
}

async fn write_tenants(transaction: &Transaction<'_>, write: &[(&Tenant, String)]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = write.iter().map(|(tenant, _)| tenant.id.as_uuid()).collect();
    let organizations: Vec<Uuid> = write.iter().map(|(tenant, _)| tenant.organization_id.as_uuid()).collect();
    let names: Vec<&str> = write.iter().map(|(tenant, _)| tenant.name.as_str()).collect();
    let statuses: Vec<i16> = write.iter().map(|(tenant, _)| tenant.status.code()).collect();
    let plans: Vec<&str> = write.iter().map(|(tenant, _)| tenant.plan.as_str()).collect();
    let trials: Vec<bool> = write.iter().map(|(tenant, _)| tenant.trial).collect();
    let expiries: Vec<Option<DateTime<Utc>>> =
        write.iter().map(|(tenant, _)| tenant.trial_expiry.map(crate::model::UtcTime::as_chrono)).collect();
    let texts: Vec<&str> = write.iter().map(|(_, text)| text.as_str()).collect();
    transaction
        .run(
            "-- catalog: tenants
            INSERT INTO tenant (tenant_id, organization_id, name, status, plan, trial, trial_expiry, search_text,
                                organization_name)
            SELECT declared.*, o.name
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::boolean[],
                        $7::timestamptz[], $8::text[])
                 AS declared (tenant_id, organization_id, name, status, plan, trial, trial_expiry, search_text)
            JOIN organization o USING (organization_id)
            ON CONFLICT (tenant_id) DO UPDATE
            SET organization_id = excluded.organization_id, name = excluded.name, status = excluded.status,
                plan = excluded.plan, trial = excluded.trial, trial_expiry = excluded.trial_expiry,
                search_text = excluded.search_text, organization_name = excluded.organization_name",
            &[&ids, &organizations, &names, &statuses, &plans, &trials, &expiries, &texts],
        )
        .await?;
    Ok(())
}

async fn meters(
    transaction: &Transaction<'_>,
    declared: &[Meter],
    problems: &mut Vec<Problem>,
) -> Result<Changes, CatalogError> {
    let ids: Vec<Uuid> = declared.iter().map(|meter| meter.id.as_uuid()).collect();
    let names: Vec<&str> = declared.iter().map(|meter| meter.name.as_str()).collect();
    let rows = transaction
        .fetch_all(
            "-- catalog: meters that are there
            SELECT meter_id, meter_key, name, unit FROM meter WHERE meter_id = ANY ($1) OR name = ANY ($2)",
            &[&ids, &names],
        )
        .await?;
    let mut by_id: HashMap<Uuid, (String, String, i64)> = HashMap::new();
    let mut id_by_name: HashMap<String, Uuid> = HashMap::new();
    for row in &rows {
        let (id, name): (Uuid, String) = (row.try_get("meter_id")?, row.try_get("name")?);
        by_id.insert(id, (name.clone(), row.try_get("unit")?, row.try_get("meter_key")?));
        id_by_name.insert(name, id);
    }
    let mut changes = Changes::default();
    let mut write: Vec<&Meter> = Vec::new();
    for (index, meter) in declared.iter().enumerate() {
        let entry = format!("meters[{index}]");
        if let Some(other) = id_by_name.get(&meter.name).filter(|&&id| id != meter.id.as_uuid()) {
            let reason = format!("\"{}\" is the name of meter {other} already", meter.name);
            problems.push(Problem { place: format!("{entry}.name"), reason });
            continue;
        }
        match by_id.get(&meter.id.as_uuid()) {
            None => changes.created += 1,
            Some((name, unit, _)) if *name == meter.name && *unit == meter.unit => {
                changes.unchanged += 1;
                continue;
            }
            Some((name, unit, key)) if meter_has_usage(transaction, *key).await? => {
                let reason =
                    format!("the meter has usage as {name} in {unit}, which reports show; declare a new meter instead");
                problems.push(Problem { place: entry, reason });
                continue;
            }
            Some(_) => changes.updated += 1,
        }
        write.push(meter);
    }
    let ids: Vec<Uuid> = write.iter().map(|meter| meter.id.as_uuid()).collect();
    let names: Vec<&str> = write.iter().map(|meter| meter.name.as_str()).collect();
    let units: Vec<&str> = write.iter().map(|meter| meter.unit.as_str()).collect();
    transaction
        .run(
            "-- catalog: meters
            INSERT INTO meter (meter_id, name, unit)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
            ON CONFLICT (meter_id) DO UPDATE SET name = excluded.name, unit = excluded.unit",
            &[&ids, &names, &units],
        )
        .await?;
    Ok(changes)
}

/// Asked only when a meter is to be changed, which is rare: it may look through all totals.
async fn meter_has_usage(transaction: &Transaction<'_>, meter_key: i64) -> Result<bool, StoreError> {
    let row = transaction
        .fetch_one(
            "-- catalog: usage of a meter
            SELECT EXISTS (SELECT FROM usage_total WHERE meter_key = $1) AS has_usage",
            &[&meter_key],
        )
        .await?;
    Ok(row.try_get("has_usage")?)
}
