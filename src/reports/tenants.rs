//! The list of tenants.

use serde::{Deserialize, Serialize};

use super::{
    InvalidField, PageSize, ReportError, manifest,
    token::{self, Kind, short_digest},
};
use crate::{
    auth::TenantScope,
    model::{OrganizationId, TenantId, UtcTime, folded},
    store::{Store, TenantPosition, TenantSearch, TenantSummary, UsageMonth},
};

#[derive(Clone, Debug)]
pub struct TenantsRequest {
    /// A part of a tenant's name, id or organization name, case-insensitive.
    pub search: String,
    pub organization_id: Option<OrganizationId>,
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

#[derive(Clone, Debug)]
pub struct Tenants {
    pub tenants: Vec<TenantSummary>,
    /// Empty on the last page.
    pub next_page_token: String,
    /// The number of tenants on all pages.
    pub total_size: i64,
}

/// The content of a page token: a digest of the query, and the last tenant of the page.
#[derive(Serialize, Deserialize)]
struct PageToken {
    #[serde(rename = "q")]
    query: [u8; 8],
    #[serde(rename = "o")]
    organization_name: String,
    #[serde(rename = "n")]
    tenant_name: String,
    #[serde(rename = "t")]
    tenant_id: String,
}

/// A tenant, and the months that have usage.
#[derive(Clone, Debug)]
pub struct TenantUsage {
    pub tenant: TenantSummary,
    pub months: Vec<UsageMonth>,
    /// What the months are as of.
    pub as_of: UtcTime,
}

/// A tenant, and its months as they were at a time; `None`: now.
pub async fn get_tenant(
    store: &Store,
    scope: &TenantScope,
    tenant_id: TenantId,
    as_of: Option<UtcTime>,
) -> Result<TenantUsage, ReportError> {
    let (tenant, snapshot) = tokio::join!(store.find_tenant(scope, tenant_id), manifest::snapshot(store, as_of));
    let tenant = tenant?.visible().map_err(ReportError::TenantNotFound)?;
    let snapshot = snapshot?;
    let (summary, months) = tokio::join!(store.tenant_summary(&tenant), store.usage_months(&tenant, snapshot));
    Ok(TenantUsage { tenant: summary?, months: months?, as_of: snapshot.time() })
}

pub async fn list_tenants(
    store: &Store,
    scope: &TenantScope,
    request: &TenantsRequest,
) -> Result<Tenants, ReportError> {
    if request.search.contains('\0') {
        return Err(InvalidField::new("search", "contains a NUL character").into());
    }
    let text = folded(&request.search);
    let organization = request.organization_id.map(|id| id.to_string()).unwrap_or_default();
    let query = short_digest(format!("{organization} {text}").as_bytes());
    let after = position(&request.page_token, query)?;
    // Names contain no control characters, so nothing can match. The separator of the search text is one.
    if text.chars().any(char::is_control) {
        return Ok(Tenants { tenants: Vec::new(), next_page_token: String::new(), total_size: 0 });
    }
    let size = request.page_size.get();
    let search = TenantSearch { text, organization_id: request.organization_id, after, limit: size + 1 };
    let mut page = store.list_tenants(scope, &search).await?;
    // One tenant more than requested shows whether there is a next page.
    let has_more = page.tenants.len() > usize::from(size);
    page.tenants.truncate(size.into());
    let last = page.tenants.last().filter(|_| has_more);
    let next_page_token = last.map_or_else(String::new, |tenant| seal(query, tenant));
    Ok(Tenants { tenants: page.tenants, next_page_token, total_size: page.total_size })
}

fn seal(query: [u8; 8], last: &TenantSummary) -> String {
    let payload = PageToken {
        query,
        organization_name: last.organization_name.clone(),
        tenant_name: last.name.clone(),
        tenant_id: last.id.to_string(),
    };
    // Strings and numbers can always be serialized.
    token::seal(Kind::Tenants, &serde_json::to_vec(&payload).unwrap_or_default())
}

fn position(page_token: &str, query: [u8; 8]) -> Result<Option<TenantPosition>, InvalidField> {
    const FIELD: &str = "page_token";
    if page_token.is_empty() {
        return Ok(None);
    }
    let payload = token::open(Kind::Tenants, page_token).map_err(|error| InvalidField::new(FIELD, error))?;
    let damaged = || InvalidField::new(FIELD, token::InvalidToken::Damaged);
    let token: PageToken = serde_json::from_slice(&payload).map_err(|_| damaged())?;
    if token.query != query {
        return Err(InvalidField::new(FIELD, "a token of another search; repeat the search of the previous page"));
    }
    if token.organization_name.contains('\0') || token.tenant_name.contains('\0') {
        return Err(damaged());
    }
    let tenant_id: TenantId = token.tenant_id.parse().map_err(|_| damaged())?;
    Ok(Some(TenantPosition { organization_name: token.organization_name, tenant_name: token.tenant_name, tenant_id }))
}
