//! Organizations of a catalog.

use std::collections::HashMap;

use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{
    changes::{CatalogError, Changes},
    unused::Unused,
};
use crate::{
    catalog::{Organization, Problem},
    database::Statements as _,
    store::{StoreError, tenants::search_text},
};

/// An organization as it stands in the database.
struct PresentOrganization {
    name: String,
    currency: String,
    has_usage: bool,
}

pub(super) async fn apply(
    transaction: &Transaction<'_>,
    declared: &[Organization],
    unused: &mut Unused,
    problems: &mut Vec<Problem>,
) -> Result<Changes, CatalogError> {
    let present = present_organizations(transaction, declared).await?;
    let mut changes = Changes::default();
    let mut write = Vec::new();
    let mut renamed = Vec::new();
    for (index, organization) in declared.iter().enumerate() {
        let code = organization.currency.code();
        match present.get(&organization.id.as_uuid()) {
            None => changes.created += 1,
            Some(present) if present.name == organization.name && present.currency == code => {
                changes.unchanged += 1;
                continue;
            }
            Some(present) if present.has_usage && present.currency != code => {
                problems.push(Problem {
                    place: format!("organizations[{index}].currency"),
                    reason: format!(
                        "\"{code}\": the organization has usage billed in {}, which stays its currency",
                        present.currency
                    ),
                });
                continue;
            }
            Some(present) => {
                changes.updated += 1;
                if present.currency != code {
                    unused.organizations.push(organization.id.as_uuid());
                }
                if present.name != organization.name {
                    renamed.push(organization);
                }
            }
        }
        write.push(organization);
    }
    write_organizations(transaction, &write).await?;
    rename_in_tenants(transaction, &renamed).await?;
    Ok(changes)
}

async fn present_organizations(
    transaction: &Transaction<'_>,
    declared: &[Organization],
) -> Result<HashMap<Uuid, PresentOrganization>, StoreError> {
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
    rows.iter()
        .map(|row| {
            let present = PresentOrganization {
                name: row.try_get("name")?,
                currency: row.try_get("currency")?,
                has_usage: row.try_get("has_usage")?,
            };
            Ok((row.try_get("organization_id")?, present))
        })
        .collect()
}

async fn write_organizations(transaction: &Transaction<'_>, write: &[&Organization]) -> Result<(), StoreError> {
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
    Ok(())
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
