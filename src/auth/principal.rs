//! An authenticated caller, with roles and a scope.

use std::{fmt, str::FromStr};

use crate::model::OrganizationId;

/// In characters.
const MAX_NAME: usize = 256;

/// What a caller may do. Names are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May call `ReportsService`.
    Reports,
    /// May call `UsageImportService`.
    UsageImport,
    /// May close months.
    BillingClose,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Principal {
    subject: String,
    client_id: Option<String>,
    roles: Vec<Role>,
    scope: TenantScope,
    /// How many roles and organizations the credentials list, known or not.
    listed_counts: (usize, usize),
}

/// The tenants that a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantScope {
    organizations: Organizations,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Organizations {
    All,
    Only(Vec<OrganizationId>),
}

/// The caller is authenticated, and may not make this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the call needs the role {0}, which the caller does not have")]
    RoleMissing(Role),
    #[error("the caller has the role {0}, but belongs to no organization")]
    NoOrganizations(Role),
}

// === impl Role ===

impl Role {
    pub const ALL: [Self; 3] = [Self::Reports, Self::UsageImport, Self::BillingClose];

    /// As in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reports => "Reports",
            Self::UsageImport => "UsageImport",
            Self::BillingClose => "BillingClose",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("not one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

// === impl Principal ===

impl Principal {
    /// Any caller of a server without authentication. Such a server listens on loopback addresses only.
    pub(super) fn insecure_local() -> Self {
        Self {
            subject: "insecure-local".to_owned(),
            client_id: None,
            roles: Role::ALL.to_vec(),
            scope: TenantScope::operator(),
            listed_counts: (Role::ALL.len(), 1),
        }
    }

    /// Roles and organizations are as the issuer or the configuration writes them. Roles of other services, and texts that are
    /// no organization ids, give no rights here.
    pub(super) fn new(subject: &str, client_id: Option<&str>, roles: &[String], organizations: &[String]) -> Self {
        Self {
            subject: printable(subject),
            client_id: client_id.map(printable),
            roles: roles.iter().filter_map(|role| role.parse().ok()).collect(),
            scope: TenantScope::of(organizations),
            listed_counts: (roles.len(), organizations.len()),
        }
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The program that acts for the subject, where the token names it.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// How many roles and organizations the credentials list, known or not. None of either may mean that the name of a claim is
    /// wrong.
    pub fn listed_counts(&self) -> (usize, usize) {
        self.listed_counts
    }

    /// The tenants that the caller may see in a role.
    pub fn scope_as(&self, role: Role) -> Result<&TenantScope, Denied> {
        if !self.roles.contains(&role) {
            return Err(Denied::RoleMissing(role));
        }
        if self.scope.organizations == Organizations::Only(Vec::new()) {
            return Err(Denied::NoOrganizations(role));
        }
        Ok(&self.scope)
    }
}

// === impl TenantScope ===

impl TenantScope {
    /// The scope of whoever has the database's credentials anyway: every organization.
    pub fn operator() -> Self {
        Self { organizations: Organizations::All }
    }

    /// The organizations that are in scope; `None` stands for all of them.
    pub fn organizations(&self) -> Option<&[OrganizationId]> {
        match &self.organizations {
            Organizations::All => None,
            Organizations::Only(organizations) => Some(organizations),
        }
    }

    fn of(organizations: &[String]) -> Self {
        if organizations.iter().any(|organization| organization == "*") {
            return Self::operator();
        }
        let mut ids: Vec<_> = organizations.iter().filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        ids.dedup();
        Self { organizations: Organizations::Only(ids) }
    }
}

/// Shortened, and without characters that could forge a line of a log.
fn printable(name: &str) -> String {
    let shown = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    name.chars().take(MAX_NAME).map(shown).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ONE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const TWO: &str = "aaaaaaaa-0000-4000-8000-000000000002";

    fn principal(roles: &[&str], organizations: &[&str]) -> Principal {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Principal::new("joe", None, &owned(roles), &owned(organizations))
    }

    #[test]
    fn a_scope_is_given_away_for_a_role_and_for_organizations() {
        let joe = principal(&["offline_access", "Reports"], &[TWO, ONE, TWO]);
        let ids = [ONE.parse().unwrap(), TWO.parse().unwrap()];
        assert_eq!(joe.scope_as(Role::Reports).unwrap().organizations(), Some(ids.as_slice()));
        assert_eq!(joe.scope_as(Role::UsageImport), Err(Denied::RoleMissing(Role::UsageImport)));
        let staff = principal(&["Reports", "UsageImport"], &[ONE, "*"]);
        assert_eq!(staff.scope_as(Role::UsageImport).unwrap().organizations(), None);
        for roles in [&["reports"][..], &["REPORTS"], &["Reports "], &["Report", "Reports2"], &[]] {
            let denied = principal(roles, &[ONE]).scope_as(Role::Reports).unwrap_err();
            assert_eq!(denied, Denied::RoleMissing(Role::Reports), "{roles:?}");
        }
        for organizations in [&[][..], &["**"], &["all"], &[" *"], &["aaaaaaaa-0000-4000-8000"]] {
            let denied = principal(&["Reports"], organizations).scope_as(Role::Reports).unwrap_err();
            assert_eq!(denied, Denied::NoOrganizations(Role::Reports), "{organizations:?}");
        }
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_the_log() {
        let name = Principal::new("a\nb\u{1b}[31m", Some(&"x".repeat(1000)), &[], &[]);
        assert_eq!(name.subject(), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(name.client_id().unwrap().len(), MAX_NAME);
    }
}
