//! The list of organizations.

use serde::{Deserialize, Serialize};

use super::{
    InvalidField, PageSize, ReportError,
    token::{self, Kind},
};
use crate::{
    auth::TenantScope,
    store::{OrganizationPosition, OrganizationSummary, Store},
};

#[derive(Clone, Debug)]
pub struct OrganizationsRequest {
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

#[derive(Clone, Debug)]
pub struct Organizations {
    /// By name and id.
    pub organizations: Vec<OrganizationSummary>,
    /// Empty on the last page.
    pub next_page_token: String,
    /// The number of organizations on all pages.
    pub total_size: i64,
}

/// The content of a page token: the last organization of the page.
#[derive(Serialize, Deserialize)]
struct PageToken {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "o")]
    organization_id: String,
}

pub async fn list_organizations(
    store: &Store,
    scope: &TenantScope,
    request: &OrganizationsRequest,
) -> Result<Organizations, ReportError> {
    let after = position(&request.page_token)?;
    let size = request.page_size.get();
    // One more than requested shows whether there is a next page.
    let mut page = store.list_organizations(scope, after.as_ref(), size + 1).await?;
    let has_more = page.organizations.len() > usize::from(size);
    page.organizations.truncate(size.into());
    let last = page.organizations.last().filter(|_| has_more);
    let next_page_token = last.map_or_else(String::new, seal);
    Ok(Organizations { organizations: page.organizations, next_page_token, total_size: page.total_size })
}

fn seal(last: &OrganizationSummary) -> String {
    let payload = PageToken { name: last.name.clone(), organization_id: last.id.to_string() };
    // Strings can always be serialized.
    token::seal(Kind::Organizations, &serde_json::to_vec(&payload).unwrap_or_default())
}

fn position(page_token: &str) -> Result<Option<OrganizationPosition>, InvalidField> {
    const FIELD: &str = "page_token";
    if page_token.is_empty() {
        return Ok(None);
    }
    let payload = token::open(Kind::Organizations, page_token).map_err(|error| InvalidField::new(FIELD, error))?;
    let damaged = || InvalidField::new(FIELD, token::InvalidToken::Damaged);
    let token: PageToken = serde_json::from_slice(&payload).map_err(|_| damaged())?;
    if token.name.contains('\0') {
        return Err(damaged());
    }
    let id = token.organization_id.parse().map_err(|_| damaged())?;
    Ok(Some(OrganizationPosition { name: token.name, id }))
}
