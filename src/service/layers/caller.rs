//! Who makes a call, as handlers see it.

use tonic::{Request, Status};

use super::audit::Notes;
use crate::{
    auth::{Principal, Role, TenantScope, Unauthenticated},
    reports::ReportError,
    store::Hidden,
};

/// The caller of a request, whom the guard has put there.
#[derive(Clone)]
pub(in crate::service) struct Caller {
    pub(in crate::service) principal: Principal,
    /// What is to be told of the call in the audit log.
    pub(in crate::service) notes: Notes,
}

// === impl Caller ===

impl Caller {
    pub(in crate::service) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| Status::from(&Unauthenticated::Missing))
    }

    /// What the caller may see in a role.
    pub(in crate::service) fn scope_as(&self, role: Role) -> Result<&TenantScope, Status> {
        self.principal.scope_as(role).map_err(|denied| {
            let (roles, organizations) = self.principal.stated();
            self.notes.truth(format!("the credentials list {roles} roles and {organizations} organizations"));
            denied.into()
        })
    }

    /// A result as the caller is told it. What the caller is not told is noted.
    pub(in crate::service) fn told<T>(&self, result: Result<T, ReportError>) -> Result<T, Status> {
        result.map_err(|error| {
            if let ReportError::TenantNotFound(Hidden::OutOfScope)
            | ReportError::OrganizationNotFound(Hidden::OutOfScope) = error
            {
                self.notes.truth("it exists, outside the organizations that were asked for or may be seen");
            }
            error.into()
        })
    }
}
