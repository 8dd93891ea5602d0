//! Tenants and organizations by their names, where one has them alone.

use super::{Client, ClientError};
use crate::{
    contract::proto,
    model::{Named, OrganizationId, TenantId, printable},
};

// === impl Client ===

impl Client {
    /// Finds a tenant by its id, or by a name that only one tenant has.
    ///
    /// # Errors
    ///
    /// [`ClientError::UnknownTenant`] or [`ClientError::AmbiguousTenant`] for a name; an id is not looked up.
    pub async fn find_tenant(&mut self, id_or_name: &str) -> Result<TenantId, ClientError> {
        self.find_tenant_among(None, id_or_name).await
    }

    /// The same among the tenants of an organization. An id is not looked up here, either.
    pub async fn find_tenant_of(
        &mut self,
        organization: OrganizationId,
        id_or_name: &str,
    ) -> Result<TenantId, ClientError> {
        self.find_tenant_among(Some(organization), id_or_name).await
    }

    async fn find_tenant_among(
        &mut self,
        organization: Option<OrganizationId>,
        id_or_name: &str,
    ) -> Result<TenantId, ClientError> {
        if let Ok(id) = id_or_name.parse() {
            return Ok(id);
        }
        let tenants = self.tenants(id_or_name, organization).await?;
        let tenant = only_tenant(tenants, id_or_name)?;
        tenant.tenant_id.parse().map_err(|_| ClientError::malformed("tenant_id", &tenant.tenant_id))
    }

    /// Finds an organization by its id, or by a name that only one organization has.
    ///
    /// # Errors
    ///
    /// [`ClientError::UnknownOrganization`] or [`ClientError::AmbiguousOrganization`] for a name; an id is not looked up.
    pub async fn find_organization(&mut self, id_or_name: &str) -> Result<OrganizationId, ClientError> {
        if let Ok(id) = id_or_name.parse() {
            return Ok(id);
        }
        let organizations = self.organizations().await?;
        let id = match Named::of(organizations, id_or_name, |organization| &organization.name) {
            Named::Nothing => return Err(ClientError::UnknownOrganization(id_or_name.to_owned())),
            Named::One(organization) => organization.organization_id,
            Named::Several(several) => {
                return Err(ClientError::AmbiguousOrganization {
                    name: id_or_name.to_owned(),
                    candidates: several.into_iter().map(|organization| organization.organization_id).collect(),
                });
            }
        };
        id.parse().map_err(|_| ClientError::malformed("organization_id", &id))
    }
}

/// The one tenant of a list that has a name.
fn only_tenant(tenants: Vec<proto::Tenant>, name: &str) -> Result<proto::Tenant, ClientError> {
    match Named::of(tenants, name, |tenant| &tenant.name) {
        Named::Nothing => Err(ClientError::UnknownTenant(name.to_owned())),
        Named::One(tenant) => Ok(tenant),
        Named::Several(several) => Err(ClientError::AmbiguousTenant {
            name: name.to_owned(),
            candidates: several
                .iter()
                .map(|tenant| format!("{} ({})", tenant.tenant_id, printable(&tenant.organization_name)))
                .collect(),
        }),
    }
}
