//! `ListTenants`: all pages, held against the request.

use std::collections::HashSet;

use super::{
    Client, ClientError, MAX_RESTARTS,
    pages::{Retained, Sizes, read_page},
};
use crate::{
    contract::proto,
    model::{OrganizationId, TenantId, folded},
};

const PAGE_SIZE: usize = 1000;

/// The pages of a list, which are in order.
#[derive(Default)]
struct List {
    tenants: Vec<proto::Tenant>,
    ids: HashSet<TenantId>,
    retained: Retained,
    sizes: Sizes,
}

/// Which tenants were asked for.
struct Asked {
    /// [folded].
    search: String,
    organization_id: Option<OrganizationId>,
}

// === impl Client ===

impl Client {
    /// Lists all matching tenants. Reads all pages.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if pages repeat or are out of order, or have other tenants than those that were asked
    /// for.
    pub async fn tenants(
        &mut self,
        search: &str,
        organization_id: Option<OrganizationId>,
    ) -> Result<Vec<proto::Tenant>, ClientError> {
        let asked = Asked { search: folded(search), organization_id };
        let mut request = proto::ListTenantsRequest {
            search: search.to_owned(),
            organization_id: organization_id.map(|id| id.to_string()).unwrap_or_default(),
            page_size: i32::try_from(PAGE_SIZE).unwrap_or_default(),
            page_token: String::new(),
        };
        let mut list = List::default();
        let mut restarts = 0;
        loop {
            let bytes = self.unary("ListTenants", &request).await?;
            let page: proto::ListTenantsResponse = read_page(&bytes, 1, PAGE_SIZE)?;
            list.retained.add(bytes.len())?;
            request.page_token.clone_from(&page.next_page_token);
            list.add(page, &asked)?;
            if !request.page_token.is_empty() {
                continue;
            }
            if list.sizes.allow(list.tenants.len()) {
                return Ok(list.tenants);
            }
            // Names have changed, so that tenants moved from one page to another.
            if restarts == MAX_RESTARTS {
                return Err(ClientError::wrong("it has another number of tenants than it says"));
            }
            restarts += 1;
            list = List::default();
        }
    }
}

// === impl List ===

impl List {
    fn add(&mut self, page: proto::ListTenantsResponse, asked: &Asked) -> Result<(), ClientError> {
        if page.tenants.is_empty() && !page.next_page_token.is_empty() {
            return Err(ClientError::wrong("a page is empty, and not the last one"));
        }
        self.sizes.add(page.total_size);
        for tenant in page.tenants {
            let id = asked.check(&tenant)?;
            if self.tenants.last().is_some_and(|last| position(last) >= position(&tenant)) {
                return Err(ClientError::wrong("its tenants are not in order, or come twice"));
            }
            // One that was renamed meanwhile may come again.
            if self.ids.insert(id) {
                self.tenants.push(tenant);
            }
        }
        Ok(())
    }
}

fn position(tenant: &proto::Tenant) -> [&str; 3] {
    [&tenant.organization_name, &tenant.name, &tenant.tenant_id]
}

// === impl Asked ===

impl Asked {
    fn check(&self, tenant: &proto::Tenant) -> Result<TenantId, ClientError> {
        let malformed = |field: &str, value: &str| ClientError::malformed(field, value);
        let id = tenant.tenant_id.parse().map_err(|_| malformed("tenant_id", &tenant.tenant_id))?;
        let organization_id = tenant.organization_id.parse();
        let organization_id = organization_id.map_err(|_| malformed("organization_id", &tenant.organization_id))?;
        if self.organization_id.is_some_and(|asked| asked != organization_id) {
            return Err(ClientError::wrong(format!("tenant {id} is of organization {organization_id}")));
        }
        let texts = [&tenant.name, &tenant.organization_name, &tenant.tenant_id];
        if !texts.iter().any(|text| folded(text).contains(&self.search)) {
            return Err(ClientError::wrong(format!("tenant {id} does not match the search")));
        }
        Ok(id)
    }
}
