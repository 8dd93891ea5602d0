//! Errors as the contract has them: a code, a reason, and for bad input the field.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::layers::Full;
use crate::{
    auth::{Denied, Unauthenticated},
    contract::{REASON_DOMAIN, Reason},
    database::DatabaseError,
    ingest::{ImportError, InvalidUsage},
    reports::{InvalidField, ReportError},
    store::{Hidden, StoreError},
};

/// How much is said of wrong records.
const MAX_VIOLATION_BYTES: usize = 3 << 10;
/// When to try again after an outage.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn details(reason: Reason) -> ErrorDetails {
    details_with(reason, HashMap::new())
}

fn details_with(reason: Reason, metadata: HashMap<String, String>) -> ErrorDetails {
    ErrorDetails::with_error_info(reason.as_str(), REASON_DOMAIN, metadata)
}

fn status(code: Code, reason: Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, details(reason))
}

fn unavailable(reason: Reason, message: impl Into<String>) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::Unavailable, message, details)
}

pub(super) fn shutting_down() -> Status {
    unavailable(
        Reason::ShuttingDown,
        "the server is stopping; go on with another one, a stream with its last resume token",
    )
}

pub(super) fn panicked() -> Status {
    // What it was is in the log of the panic itself.
    internal()
}

pub(super) fn deadline_exceeded() -> Status {
    let message = "the deadline of the call has passed; a stream goes on with its last resume token";
    status(Code::DeadlineExceeded, Reason::DeadlineExceeded, message)
}

/// What the transport refuses before a handler has a word in it comes without a reason. `None`: it is not such a status.
pub(super) fn with_reason(refusal: &Status) -> Option<Status> {
    if refusal.get_details_error_info().is_some() {
        return None;
    }
    let (code, reason) = match refusal.code() {
        // It cannot be decoded, which is the caller's fault.
        Code::Internal => (Code::InvalidArgument, Reason::RequestUnreadable),
        Code::OutOfRange => (Code::ResourceExhausted, Reason::RequestTooLarge),
        // A method of another version, or a message that is compressed.
        Code::Unimplemented => (Code::Unimplemented, Reason::Unimplemented),
        _ => return None,
    };
    Some(status(code, reason, refusal.message()))
}

/// Another stream goes on behind what the reader has, once it reads again.
pub(super) fn stalled() -> Status {
    unavailable(
        Reason::ReaderStalled,
        "the answer was not read for too long; a stream goes on with its last resume token",
    )
}

pub(super) fn request_stalled() -> Status {
    status(Code::DeadlineExceeded, Reason::RequestStalled, "the request did not come to its end in time")
}

pub(super) fn importer_stalled(limit: Duration) -> Status {
    let message = format!("no message came for {} s; nothing was imported", limit.as_secs());
    status(Code::DeadlineExceeded, Reason::ImporterStalled, message)
}

impl From<Full> for Status {
    fn from(full: Full) -> Self {
        let (code, reason, calls, limit, message, retry) = match full {
            Full::Server { calls, limit } => {
                let message = format!("as many {calls} as this server takes are running ({limit}); try again");
                (Code::Unavailable, Reason::Overloaded, calls, limit, message, true)
            }
            // Only the caller knows when its other calls end.
            Full::Caller { calls, limit } => {
                let message =
                    format!("{limit} {calls} of yours are running, and that is the limit: let one of them end");
                (Code::ResourceExhausted, Reason::CallerLimit, calls, limit, message, false)
            }
        };
        let metadata = [("calls".to_owned(), calls.to_owned()), ("limit".to_owned(), limit.to_string())];
        let mut details = details_with(reason, HashMap::from(metadata));
        if retry {
            // Those who are refused together are not to come back together.
            details.set_retry_info(Some(RETRY_AFTER.mul_f64(1.0 + 2.0 * fastrand::f64())));
        }
        Self::with_error_details(code, message, details)
    }
}

/// Says what a caller can do about it, and no more: what is wrong with a token is for the log.
impl From<&Unauthenticated> for Status {
    fn from(error: &Unauthenticated) -> Self {
        let refused = |reason, message| status(Code::Unauthenticated, reason, message);
        match error {
            Unauthenticated::Missing => refused(
                Reason::TokenMissing,
                "the call does not say who makes it: send `authorization: Bearer <token>`, or a client certificate that is known \
                 here",
            ),
            Unauthenticated::ExpiredToken { .. } => {
                refused(Reason::TokenExpired, "the token has expired: get a new one")
            }
            Unauthenticated::InvalidToken(_) => {
                refused(Reason::TokenInvalid, "the token is not valid for this service")
            }
            Unauthenticated::UnknownCertificate(_) => {
                refused(Reason::CertificateUnknown, "the client certificate stands for nobody who is known here")
            }
            Unauthenticated::IssuerUnavailable => {
                unavailable(Reason::IssuerUnavailable, "the issuer of tokens cannot be asked for its keys; try again")
            }
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let (reason, role) = match denied {
            Denied::RoleMissing(role) => (Reason::RoleMissing, role),
            Denied::NoOrganizations(role) => (Reason::NoOrganizations, role),
        };
        let metadata = HashMap::from([("role".to_owned(), role.name().to_owned())]);
        let details = details_with(reason, metadata);
        Self::with_error_details(Code::PermissionDenied, denied.to_string(), details)
    }
}

impl From<InvalidField> for Status {
    fn from(error: InvalidField) -> Self {
        let mut details = details(Reason::InvalidArgument);
        details.add_bad_request_violation(&error.field, &error.reason);
        Self::with_error_details(Code::InvalidArgument, error.to_string(), details)
    }
}

impl From<ReportError> for Status {
    fn from(error: ReportError) -> Self {
        let message = error.to_string();
        match error {
            ReportError::Invalid(error) => error.into(),
            ReportError::TenantNotFound(_) => status(Code::NotFound, Reason::TenantNotFound, message),
            ReportError::OrganizationNotFound(_) => status(Code::NotFound, Reason::OrganizationNotFound, message),
            ReportError::ResumeTokenExpired => status(Code::FailedPrecondition, Reason::ResumeTokenExpired, message),
            ReportError::Purged => status(Code::FailedPrecondition, Reason::ReportPurged, message),
            ReportError::PageTokenExpired => status(Code::FailedPrecondition, Reason::PageTokenExpired, message),
            ReportError::NotReplicated => unavailable(Reason::NotReplicated, message),
            ReportError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::Changed(_) => status(Code::Aborted, Reason::ImportConflict, error.to_string()),
            StoreError::Corrupt(_) => {
                tracing::error!(%error, "a call failed");
                internal()
            }
        }
    }
}

/// What the database said is for the log, not for the caller.
impl From<DatabaseError> for Status {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable(_) => {
                tracing::warn!(%error, "a call failed");
                unavailable(Reason::DatabaseUnavailable, "the database is not available; try again")
            }
            // Another try would take as long.
            DatabaseError::StatementTimeout => {
                tracing::warn!(%error, "a call failed");
                status(Code::DeadlineExceeded, Reason::StatementTimeout, error.to_string())
            }
            // The configuration is at fault, and its owner reads the log.
            DatabaseError::Forbidden(_) => {
                tracing::error!(
                    %error,
                    "a call failed; `migrate --grant-to` gives rights again after an upgrade, and imports need \
                     --import-database-url where reports are served by an account that may only read"
                );
                let message = "the server's database account may not do this; its log has the details";
                status(Code::FailedPrecondition, Reason::DatabaseRightMissing, message)
            }
            DatabaseError::Failed(_) | DatabaseError::Malformed(_) | DatabaseError::InvalidOptions(_) => {
                tracing::error!(%error, "a call failed");
                internal()
            }
        }
    }
}

impl From<ImportError> for Status {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Invalid(error) => error.into(),
            // What is read here is no file.
            ImportError::Io { .. } | ImportError::NotUsage { .. } => {
                tracing::error!(%error, "an import failed");
                internal()
            }
            ImportError::UnknownTenant => ReportError::TenantNotFound(Hidden::Unknown).into(),
            ImportError::NothingToWithdraw { .. } => status(Code::NotFound, Reason::UsageNotFound, error.to_string()),
            ImportError::Denied(denied) => denied.into(),
            ImportError::Store(error) => error.into(),
        }
    }
}

impl From<InvalidUsage> for Status {
    fn from(error: InvalidUsage) -> Self {
        let violations = error.first.iter().map(|problem| {
            let field = match problem.column {
                "" => format!("records[{}]", problem.place),
                column => format!("records[{}].{}", problem.place, field_name(column)),
            };
            FieldViolation::new(field, format!("{:?}: {}", problem.value, problem.reason))
        });
        // Errors travel in headers, and many clients take some 8 KiB of them.
        let mut room = MAX_VIOLATION_BYTES;
        let violations: Vec<_> = violations
            .take_while(|violation: &FieldViolation| {
                let bytes = violation.field.len() + violation.description.len();
                room = room.saturating_sub(bytes);
                room > 0
            })
            .collect();
        let first = violations.first().map(|first| first.field.as_str()).unwrap_or_default();
        let message = match error.total {
            1 => format!("nothing was imported: there is a problem in {first}"),
            total => format!("nothing was imported: {total} problems, the first in {first}"),
        };
        let mut details = details(Reason::InvalidUsage);
        details.set_bad_request(violations);
        Self::with_error_details(Code::InvalidArgument, message, details)
    }
}

/// The contract's name of a column: the columns are the JSON names of the fields.
fn field_name(column: &str) -> String {
    let mut name = String::with_capacity(column.len() + 4);
    for character in column.chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

fn internal() -> Status {
    status(Code::Internal, Reason::Internal, "an internal error; the server's log has the details")
}
