//! Who asks, and what they may see. Only this module makes a [`TenantScope`], and every query for tenants takes one:
//! a query that forgot to ask does not compile.

use crate::model::OrganizationId;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Principal {
    subject: String,
    scope: TenantScope,
}

/// The tenants that a caller may see.
#[derive(Clone, Debug)]
pub struct TenantScope {
    organizations: Organizations,
}

#[derive(Clone, Debug)]
enum Organizations {
    All,
    Only(Vec<OrganizationId>),
}

impl Principal {
    /// Whoever reaches a server without authentication, which listens on loopback only: every organization.
    pub fn insecure_local() -> Self {
        Self { subject: "insecure-local".to_owned(), scope: TenantScope { organizations: Organizations::All } }
    }

    /// The account of this process, which has the database's credentials anyway: every organization.
    pub fn operator(account: &str) -> Self {
        Self { subject: account.to_owned(), scope: TenantScope { organizations: Organizations::All } }
    }

    /// A member of these organizations, and of no other.
    pub fn member(subject: &str, organizations: Vec<OrganizationId>) -> Self {
        Self { subject: subject.to_owned(), scope: TenantScope { organizations: Organizations::Only(organizations) } }
    }

    /// The name to log and to keep.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What the caller may see.
    pub fn scope(&self) -> &TenantScope {
        &self.scope
    }
}

impl TenantScope {
    /// The organizations that are in scope; `None` stands for all of them.
    pub fn organizations(&self) -> Option<&[OrganizationId]> {
        match &self.organizations {
            Organizations::All => None,
            Organizations::Only(organizations) => Some(organizations),
        }
    }
}
