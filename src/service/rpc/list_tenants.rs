//! `ListTenants`.

use tonic::{Request, Status};

use super::parse::{bounded, optional, page_size, token};
use crate::{
    contract::proto,
    reports::{InvalidField, Tenants, TenantsRequest, list_tenants},
    service::layers::Caller,
    store::{Store, TenantSummary},
};

/// The default, and the largest.
const PAGE_SIZES: (u16, u16) = (100, 1000);
/// The longest name of a tenant or an organization.
pub(super) const MAX_SEARCH_BYTES: usize = 256;

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::ListTenantsRequest>,
) -> Result<proto::ListTenantsResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = TenantsRequest::try_from(request.into_inner())?;
    request.organization_id.into_iter().for_each(|id| caller.notes.organization(id));
    let page = caller.answer(list_tenants(store, &caller.scope, &request).await)?;
    caller.notes.add_rows(page.tenants.len());
    Ok(page.into())
}

impl TryFrom<proto::ListTenantsRequest> for TenantsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::ListTenantsRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            organization_id: optional("organization_id", &request.organization_id)?,
            page_size: page_size(request.page_size, PAGE_SIZES)?,
            search: bounded("search", request.search, MAX_SEARCH_BYTES)?,
            page_token: token("page_token", request.page_token)?,
        })
    }
}

impl From<TenantSummary> for proto::Tenant {
    fn from(tenant: TenantSummary) -> Self {
        let (first, last) = tenant.usage_months.unzip();
        Self {
            tenant_id: tenant.id.to_string(),
            name: tenant.name,
            organization_id: tenant.organization_id.to_string(),
            organization_name: tenant.organization_name,
            status: tenant.status.code().into(),
            plan: tenant.plan,
            trial: tenant.trial,
            trial_expiry: tenant.trial_expiry.map(Into::into),
            first_usage_month: first.map(Into::into),
            last_usage_month: last.map(Into::into),
        }
    }
}

impl From<Tenants> for proto::ListTenantsResponse {
    fn from(page: Tenants) -> Self {
        Self {
            tenants: page.tenants.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }
    }
}
