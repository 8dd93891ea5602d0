//! `ListOrganizations`.

use tonic::{Request, Status};

use super::parse::{page_size, token};
use crate::{
    contract::proto,
    reports::{InvalidField, Organizations, OrganizationsRequest, list_organizations},
    service::layers::Caller,
    store::{OrganizationSummary, Store},
};

/// The default, and the largest.
const PAGE_SIZES: (u16, u16) = (100, 1000);

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::ListOrganizationsRequest>,
) -> Result<proto::ListOrganizationsResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = OrganizationsRequest::try_from(request.into_inner())?;
    let page = caller.answer(list_organizations(store, &caller.scope, &request).await)?;
    caller.notes.add_rows(page.organizations.len());
    Ok(page.into())
}

impl TryFrom<proto::ListOrganizationsRequest> for OrganizationsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::ListOrganizationsRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            page_size: page_size(request.page_size, PAGE_SIZES)?,
            page_token: token("page_token", request.page_token)?,
        })
    }
}

impl From<OrganizationSummary> for proto::Organization {
    fn from(organization: OrganizationSummary) -> Self {
        Self {
            organization_id: organization.id.to_string(),
            name: organization.name,
            currency: organization.currency.code().to_owned(),
        }
    }
}

impl From<Organizations> for proto::ListOrganizationsResponse {
    fn from(page: Organizations) -> Self {
        Self {
            organizations: page.organizations.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }
    }
}
