//! Tenants, always within a scope.

mod list;
mod months;
mod organizations;

use tokio_postgres::Row;

use super::{Store, StoreError, scope};
use crate::{
    auth::TenantScope,
    database::Statements as _,
    model::{Currency, OrganizationId, TenantId, folded},
};

pub use list::{TenantPage, TenantPosition, TenantSearch, TenantSummary};
pub use months::UsageMonth;
pub use organizations::{OrganizationPage, OrganizationPosition, OrganizationSummary};

/// Stands for a tenant in per-tenant tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantKey(pub(in crate::store) i64);

/// A tenant that a scope was found to include. Only [`Store::find_tenant`] makes one, and reports are read by it.
#[derive(Clone, Debug)]
pub struct VisibleTenant {
    key: TenantKey,
    id: TenantId,
    name: String,
    organization_id: OrganizationId,
}

/// An organization that a scope was found to include.
#[derive(Clone, Debug)]
pub struct VisibleOrganization {
    id: OrganizationId,
    name: String,
    currency: Currency,
}

/// What was found of something that a caller named.
#[derive(Clone, Debug)]
pub enum Lookup<T> {
    /// It is there, within the scope.
    Visible(T),
    /// It is not to be seen.
    Hidden(Hidden),
}

/// Why something is not to be seen. For the log only: callers get one answer for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// There is no such thing.
    Unknown,
    /// It is outside the caller's scope.
    OutOfScope,
}

/// The names that searches look into. `U+001F` cannot stand in a name, so no search reaches across them.
pub(super) fn search_text(tenant_name: &str, organization_name: &str) -> String {
    folded(&format!("{tenant_name}\u{1f}{organization_name}"))
}

// === impl VisibleTenant ===

impl VisibleTenant {
    pub(in crate::store) fn key(&self) -> i64 {
        self.key.0
    }

    pub fn id(&self) -> TenantId {
        self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn organization_id(&self) -> OrganizationId {
        self.organization_id
    }
}

// === impl VisibleOrganization ===

impl VisibleOrganization {
    pub fn id(&self) -> OrganizationId {
        self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is billed in.
    pub fn currency(&self) -> Currency {
        self.currency
    }
}

// === impl Lookup ===

impl<T> Lookup<T> {
    fn of(row: Option<Row>, visible: impl Fn(&Row) -> Result<T, StoreError>) -> Result<Self, StoreError> {
        let Some(row) = row else { return Ok(Self::Hidden(Hidden::Unknown)) };
        if row.try_get("in_scope")? { visible(&row).map(Self::Visible) } else { Ok(Self::Hidden(Hidden::OutOfScope)) }
    }

    /// What is visible, or why nothing is.
    pub fn visible(self) -> Result<T, Hidden> {
        match self {
            Self::Visible(value) => Ok(value),
            Self::Hidden(hidden) => Err(hidden),
        }
    }
}

impl Store {
    /// Finds a tenant within a scope. One that is outside takes the same work as one that does not exist.
    pub async fn find_tenant(&self, scope: &TenantScope, id: TenantId) -> Result<Lookup<VisibleTenant>, StoreError> {
        let client = self.short().await?;
        let statement = format!(
            "-- find_tenant
            SELECT tenant_key, name, organization_id, {} AS in_scope FROM tenant WHERE tenant_id = $1",
            scope::condition("organization_id", "$2")
        );
        let row = client.fetch_optional(&statement, &[&id.as_uuid(), &scope::bind(scope)]).await?;
        Lookup::of(row, |row| {
            Ok(VisibleTenant {
                key: TenantKey(row.try_get("tenant_key")?),
                id,
                name: row.try_get("name")?,
                organization_id: OrganizationId::from_uuid(row.try_get("organization_id")?),
            })
        })
    }

    /// Finds an organization within a scope.
    pub async fn find_organization(
        &self,
        scope: &TenantScope,
        id: OrganizationId,
    ) -> Result<Lookup<VisibleOrganization>, StoreError> {
        let client = self.short().await?;
        let statement = format!(
            "-- find_organization
            SELECT name, currency, {} AS in_scope FROM organization WHERE organization_id = $1",
            scope::condition("organization_id", "$2")
        );
        let row = client.fetch_optional(&statement, &[&id.as_uuid(), &scope::bind(scope)]).await?;
        Lookup::of(row, |row| Ok(VisibleOrganization { id, name: row.try_get("name")?, currency: currency(row)? }))
    }
}

pub(super) fn currency(row: &Row) -> Result<Currency, StoreError> {
    let code: String = row.try_get("currency")?;
    code.parse().map_err(|_| StoreError::corrupt(format!("{code:?} is not a currency")))
}
