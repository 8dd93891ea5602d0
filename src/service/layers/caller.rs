//! The caller of a request, as handlers see it.

use tonic::{Request, Status};

use super::record::Notes;
use crate::{auth::TenantScope, reports::ReportError, service::status, store::Hidden};

/// An authorized caller. Every request that reaches a handler has one.
#[derive(Clone)]
pub(in crate::service) struct Caller {
    pub(in crate::service) subject: String,
    /// What the caller may see in the role that the RPC needs.
    pub(in crate::service) scope: TenantScope,
    /// For the audit log.
    pub(in crate::service) notes: Notes,
}

// === impl Caller ===

impl Caller {
    /// # Errors
    ///
    /// `INTERNAL` where the service does not stand below the layers.
    pub(in crate::service) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request.extensions().get().cloned().ok_or_else(status::missing_extension::<Self>)
    }

    /// The result as the caller gets it. What its error hides is noted for the audit log.
    pub(in crate::service) fn answer<T>(&self, result: Result<T, ReportError>) -> Result<T, Status> {
        result.map_err(|error| {
            if let ReportError::TenantNotFound(Hidden::OutOfScope)
            | ReportError::OrganizationNotFound(Hidden::OutOfScope) = error
            {
                self.notes.internal_detail("it exists, outside the organizations that were asked for or may be seen");
            }
            error.into()
        })
    }
}
