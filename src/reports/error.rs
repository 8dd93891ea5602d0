//! Errors of reports.

use crate::store::{Hidden, StoreError};

/// A request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The tenant does not exist, or the caller may not see it. Callers get the same answer in both cases.
    #[error("there is no such tenant")]
    TenantNotFound(Hidden),
    /// The organization does not exist, or the caller may not see it.
    #[error("there is no such organization")]
    OrganizationNotFound(Hidden),
    /// The statement does not exist, or it is of an organization that the caller may not see.
    #[error("there is no such statement")]
    StatementNotFound,
    /// The report of a resume token was purged or can no longer be reproduced.
    #[error("the report of the resume token is no longer available; request it again without the token")]
    ResumeTokenExpired,
    /// The report of a ticket can no longer be reproduced.
    #[error("the report of the ticket is no longer available; ask GetFlightInfo for another one")]
    SliceExpired,
    /// Records of the report were purged.
    #[error("the records of this report were purged; its costs are still available")]
    Purged,
    /// The lines have changed since the page token was made.
    #[error("the list has changed since the previous page; start again from the first page")]
    PageTokenExpired,
    /// Names, by which the lines of a bill are ordered, have changed while it was read.
    #[error("names of tenants changed while the costs were read; ask again")]
    NamesChanged,
    /// The groups or assets of a tenant's month take more memory than they may.
    #[error(
        "a month of a tenant has more groups or assets than the server adds up (a million of each, and 128 MiB of their ids and \
         names); ask for fewer groups or tenants, or for some meters and regions"
    )]
    TooManyGroups,
    /// Other breakdowns have all the room that there is for groups.
    #[error("this server adds up as many groups as it takes; try again")]
    Overloaded,
    /// A standby has not yet replicated everything up to the requested time.
    #[error("this replica may not have received everything that was published until then; retry, or ask the primary")]
    NotReplicated,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidField {
    /// The field's path in the request, for instance `filter.meter_names[0]`.
    pub field: String,
    /// What is wrong, and how to correct it.
    pub reason: String,
}

impl InvalidField {
    pub fn new(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }
}
