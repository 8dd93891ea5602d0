//! `ListOrganizations`: all pages, in their order.

use std::collections::HashSet;

use super::{
    Client, ClientError, MAX_RESTARTS,
    pages::{Retained, Sizes, read_page},
};
use crate::{
    contract::proto,
    model::{Currency, OrganizationId},
};

const PAGE_SIZE: usize = 1000;

/// The pages of a list, which are in order.
#[derive(Default)]
struct List {
    organizations: Vec<proto::Organization>,
    ids: HashSet<OrganizationId>,
    retained: Retained,
    sizes: Sizes,
}

// === impl Client ===

impl Client {
    /// Lists all organizations that the caller may see, by name and id. Reads all pages.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if pages repeat or are out of order.
    pub async fn organizations(&mut self) -> Result<Vec<proto::Organization>, ClientError> {
        let page_size = i32::try_from(PAGE_SIZE).unwrap_or_default();
        let mut request = proto::ListOrganizationsRequest { page_size, page_token: String::new() };
        let mut list = List::default();
        let mut restarts = 0;
        loop {
            let bytes = self.unary("ListOrganizations", &request).await?;
            let page: proto::ListOrganizationsResponse = read_page(&bytes, 1, PAGE_SIZE)?;
            list.retained.add(bytes.len())?;
            request.page_token.clone_from(&page.next_page_token);
            list.add(page)?;
            if !request.page_token.is_empty() {
                continue;
            }
            if list.sizes.allow(list.organizations.len()) {
                return Ok(list.organizations);
            }
            // Names have changed, so that organizations moved from one page to another.
            if restarts == MAX_RESTARTS {
                return Err(ClientError::wrong("it has another number of organizations than it says"));
            }
            restarts += 1;
            list = List::default();
        }
    }
}

// === impl List ===

impl List {
    fn add(&mut self, page: proto::ListOrganizationsResponse) -> Result<(), ClientError> {
        if page.organizations.is_empty() && !page.next_page_token.is_empty() {
            return Err(ClientError::wrong("a page is empty, and not the last one"));
        }
        self.sizes.add(page.total_size);
        for organization in page.organizations {
            let malformed = |field: &str, value: &str| ClientError::malformed(field, value);
            let id = &organization.organization_id;
            let id = id.parse().map_err(|_| malformed("organization_id", id))?;
            let currency = &organization.currency;
            currency.parse::<Currency>().map_err(|_| malformed("currency", currency))?;
            if self.organizations.last().is_some_and(|last| position(last) >= position(&organization)) {
                return Err(ClientError::wrong("its organizations are not in order, or come twice"));
            }
            // One that was renamed meanwhile may come again.
            if self.ids.insert(id) {
                self.organizations.push(organization);
            }
        }
        Ok(())
    }
}

fn position(organization: &proto::Organization) -> [&str; 2] {
    [&organization.name, &organization.organization_id]
}
