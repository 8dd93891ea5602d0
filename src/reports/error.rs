//! Why there is no report.

use crate::store::{Hidden, StoreError};

/// A request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The request is not sound.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// There is no such tenant, or none that the caller may see: the two are one answer.
    #[error("there is no such tenant")]
    TenantNotFound(Hidden),
    /// There is no such organization, or none that the caller may see.
    #[error("there is no such organization")]
    OrganizationNotFound(Hidden),
    /// The report that a resume token belongs to is no longer kept.
    #[error("the report that the resume token belongs to is no longer kept; ask for it again without the token")]
    ResumeTokenExpired,
    /// Records of the report are kept no longer.
    #[error("the records of this report are no longer kept; its costs are")]
    Purged,
    /// The lines that a page token counts are no longer the same.
    #[error("the list has changed since the page before; start again from the first page")]
    PageTokenExpired,
    /// A standby does not know yet what was published until the moment asked for.
    #[error("this replica may not know yet all that was published until then; try again, or ask the primary")]
    NotReplicated,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A field of a request is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidField {
    /// The field's path in the request, for instance `filter.meter_names[0]`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl InvalidField {
    /// Names what is wrong with a field.
    pub fn new(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }
}
