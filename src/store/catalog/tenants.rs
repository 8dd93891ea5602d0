//! Tenants of a catalog.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{
    changes::{CatalogError, Changes},
    unused::Unused,
};
use crate::{
    catalog::{Problem, Tenant},
    database::Statements as _,
    model::UtcTime,
    store::{StoreError, tenants::search_text},
};

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

// === impl PresentTenant ===

impl PresentTenant {
    fn is_as(&self, tenant: &Tenant) -> bool {
        self.organization_id == tenant.organization_id.as_uuid()
            && self.name == tenant.name
            && self.plan == tenant.plan
            && self.status == tenant.status.code()
            && self.trial == tenant.trial
            && self.trial_expiry == tenant.trial_expiry.map(UtcTime::as_chrono)
    }
}

pub(super) async fn apply(
    transaction: &Transaction<'_>,
    declared: &[Tenant],
    unused: &mut Unused,
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
            Some(present) => {
                changes.updated += 1;
                if present.organization_id != tenant.organization_id.as_uuid() {
                    unused.tenants.push(tenant.id.as_uuid());
                }
            }
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
        write.iter().map(|(tenant, _)| tenant.trial_expiry.map(UtcTime::as_chrono)).collect();
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
