//! Lists of organizations, always within a scope.

use tokio_postgres::Row;

use super::currency;
use crate::{
    auth::TenantScope,
    database::Statements as _,
    model::{Currency, OrganizationId},
    store::{Store, StoreError, scope},
};

#[derive(Clone, Debug)]
pub struct OrganizationSummary {
    pub id: OrganizationId,
    pub name: String,
    /// What it is billed in.
    pub currency: Currency,
}

/// A position in the order of organizations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationPosition {
    pub name: String,
    pub id: OrganizationId,
}

#[derive(Clone, Debug)]
pub struct OrganizationPage {
    /// In order.
    pub organizations: Vec<OrganizationSummary>,
    /// How many there are in all.
    pub total_size: i64,
}

/// Those of a scope, looked up one by one: who may see some must not find out by the time it takes how many others there are.
const OWN: &str = "(SELECT * FROM organization WHERE organization_id = ANY ($1) OFFSET 0)";
/// All of them; the condition gives the parameter a type.
const ALL: &str = "(SELECT * FROM organization WHERE $1::uuid[] IS NULL)";

// === impl OrganizationSummary ===

impl OrganizationSummary {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: OrganizationId::from_uuid(row.try_get("organization_id")?),
            name: row.try_get("name")?,
            currency: currency(row)?,
        })
    }

    pub fn position(&self) -> OrganizationPosition {
        OrganizationPosition { name: self.name.clone(), id: self.id }
    }
}

impl Store {
    /// Lists at most so many organizations after a position, ordered by name and id.
    pub async fn list_organizations(
        &self,
        scope: &TenantScope,
        after: Option<&OrganizationPosition>,
        limit: u16,
    ) -> Result<OrganizationPage, StoreError> {
        let client = self.short().await?;
        let ids = scope::bind(scope);
        let organizations = if ids.is_some() { OWN } else { ALL };
        let count =
            format!("-- list_organizations: count\nSELECT count(*) AS total_size FROM {organizations} organization");
        let page = format!(
            "-- list_organizations: page
            SELECT organization_id, name, currency FROM {organizations} organization
            WHERE $2::text IS NULL OR (name, organization_id) > ($2, $3::uuid)
            ORDER BY name, organization_id
            LIMIT $4"
        );
        let (name, id) = (after.map(|after| after.name.as_str()), after.map(|after| after.id.as_uuid()));
        let total_size = client.fetch_one(&count, &[&ids]).await?.try_get("total_size")?;
        let rows = client.fetch_all(&page, &[&ids, &name, &id, &i64::from(limit)]).await?;
        let organizations = rows.iter().map(OrganizationSummary::from_row).collect::<Result<_, _>>()?;
        Ok(OrganizationPage { organizations, total_size })
    }
}
