//! Errors as the contract has them: a code, a reason, and for bad input the field. Each kind of error has one match.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::{codes::code, limits::LimitExceeded};
use crate::{
    auth::{Denied, Unauthenticated},
    billing::CloseError,
    contract::{REASON_DOMAIN, Reason},
    database::DatabaseError,
    ingest::{ImportError, InvalidUsage},
    reports::{InvalidField, ReportError},
    store::{Hidden, StoreError},
};

/// Errors travel in headers, and many clients take some 8 KiB of them.
const MAX_VIOLATION_BYTES: usize = 3 << 10;
/// When to try again after an outage.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) fn unknown_service() -> Status {
    status(Reason::Unimplemented, "there is no such service here")
}

/// A method of Arrow Flight that no report has a use for.
pub(super) fn unused_method() -> Status {
    status(Reason::Unimplemented, "columns are read by ListFlights, GetFlightInfo, GetSchema and DoGet")
}

fn details(reason: Reason) -> ErrorDetails {
    details_with(reason, HashMap::new())
}

fn details_with(reason: Reason, metadata: HashMap<String, String>) -> ErrorDetails {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), REASON_DOMAIN, metadata);
    if code(reason) == Code::Unavailable {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    details
}

fn status(reason: Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(code(reason), message, details(reason))
}

pub(super) fn shutting_down() -> Status {
    status(Reason::ShuttingDown, "the server is stopping; go on with another one, a stream with its last resume token")
}

pub(super) fn panicked() -> Status {
    // The panic itself has logged what it was.
    internal()
}

pub(super) fn deadline_exceeded() -> Status {
    let message = "the deadline of the call has passed; a stream goes on with its last resume token";
    status(Reason::DeadlineExceeded, message)
}

/// The transport's own refusals come without a reason. `None`: it is not such a status.
pub(super) fn with_reason(refusal: &Status) -> Option<Status> {
    if refusal.get_details_error_info().is_some() {
        return None;
    }
    let reason = match refusal.code() {
        // It cannot be decoded, which is the caller's fault.
        Code::Internal => Reason::RequestUnreadable,
        Code::OutOfRange => Reason::RequestTooLarge,
        // A method of another version, or a message that is compressed.
        Code::Unimplemented => Reason::Unimplemented,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => return None,
    };
    Some(status(reason, refusal.message()))
}

pub(super) fn import_too_long(limit: Duration) -> Status {
    let message = format!(
        "the import took longer than {} s and was ended; send less in one call. What is in force already is recognised",
        limit.as_secs()
    );
    status(Reason::ImporterStalled, message)
}

pub(super) fn close_too_long(limit: Duration) -> Status {
    let message = format!(
        "closing the month took longer than {} s and was ended; call again: a month that is closed stays as it is",
        limit.as_secs()
    );
    status(Reason::ImporterStalled, message)
}

/// A layer that the request needs is not there.
pub(super) fn missing_extension<T>() -> Status {
    tracing::error!("a request came without {}", std::any::type_name::<T>());
    internal()
}

/// A call would leave no line.
pub(super) fn audit_log_unavailable() -> Status {
    status(Reason::AuditLogUnavailable, "the server cannot write its audit log, and so takes no calls; try again")
}

/// For streams that would never end by themselves.
pub(super) fn connection_too_old() -> Status {
    status(Reason::ConnectionTooOld, "the connection has reached the age that the server allows; open another one")
}

pub(super) fn stalled() -> Status {
    status(Reason::ReaderStalled, "the answer was not read for too long; a stream goes on with its last resume token")
}

pub(super) fn request_stalled() -> Status {
    status(Reason::RequestStalled, "the request did not arrive in time")
}

pub(super) fn request_unreadable() -> Status {
    status(Reason::RequestUnreadable, "the request is not a message of this RPC")
}

pub(super) fn message_too_large(bytes: usize, limit: usize) -> Status {
    let message = format!("the message has {bytes} bytes; one message of this RPC may have {limit}");
    status(Reason::RequestTooLarge, message)
}

pub(super) fn importer_stalled(limit: Duration) -> Status {
    let message = format!("no message came for {} s; nothing was imported", limit.as_secs());
    status(Reason::ImporterStalled, message)
}

impl From<LimitExceeded> for Status {
    fn from(exceeded: LimitExceeded) -> Self {
        let (reason, calls, limit, message) = match exceeded {
            LimitExceeded::Server { calls, limit } => {
                let message = format!("this server has as many {calls} as it takes ({limit}); try again");
                (Reason::Overloaded, calls, limit, message)
            }
            // Only the caller knows when its other calls end.
            LimitExceeded::Caller { calls, limit } => {
                let message = format!("you have as many {calls} as you may have ({limit}): let one of them end");
                (Reason::CallerLimit, calls, limit, message)
            }
            LimitExceeded::Organizations { calls, limit } => {
                let message = format!(
                    "callers of your organization have as many {calls} as they may have together ({limit}): let one of them end"
                );
                (Reason::CallerLimit, calls, limit, message)
            }
            LimitExceeded::Connection { calls, limit } => {
                let message =
                    format!("this connection has as many {calls} as it may have ({limit}): let one of them end");
                (Reason::CallerLimit, calls, limit, message)
            }
        };
        let metadata = [("calls".to_owned(), calls.to_owned()), ("limit".to_owned(), limit.to_string())];
        let mut details = details_with(reason, HashMap::from(metadata));
        if reason == Reason::Overloaded {
            // Callers who are refused together should not come back together.
            details.set_retry_info(Some(RETRY_AFTER.mul_f64(1.0 + 2.0 * fastrand::f64())));
        }
        Self::with_error_details(code(reason), message, details)
    }
}

/// Says what the caller can do. What is wrong with a token is for the audit log only.
impl From<&Unauthenticated> for Status {
    fn from(error: &Unauthenticated) -> Self {
        let (reason, message) = match error {
            Unauthenticated::Missing => (
                Reason::TokenMissing,
                "the call has no credentials: send `authorization: Bearer <token>`, or the client certificate of a \
                 configured caller",
            ),
            Unauthenticated::ExpiredToken { .. } => (Reason::TokenExpired, "the token has expired: get a new one"),
            Unauthenticated::InvalidToken(_) => (Reason::TokenInvalid, "the token is not valid for this service"),
            Unauthenticated::UnknownCertificate(_) => {
                (Reason::CertificateUnknown, "no configured caller has this certificate")
            }
            Unauthenticated::IssuerUnavailable => {
                (Reason::IssuerUnavailable, "the server cannot fetch the token issuer's keys; try again")
            }
        };
        status(reason, message)
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
        Self::with_error_details(code(reason), denied.to_string(), details)
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
            ReportError::TenantNotFound(_) => status(Reason::TenantNotFound, message),
            ReportError::OrganizationNotFound(_) => status(Reason::OrganizationNotFound, message),
            ReportError::StatementNotFound => status(Reason::StatementNotFound, message),
            ReportError::ResumeTokenExpired => status(Reason::ResumeTokenExpired, message),
            ReportError::SliceExpired => status(Reason::TicketExpired, message),
            ReportError::Purged => status(Reason::ReportPurged, message),
            ReportError::PageTokenExpired => status(Reason::PageTokenExpired, message),
            ReportError::NamesChanged => status(Reason::NamesChanged, message),
            ReportError::TooManyGroups => status(Reason::TooManyGroups, message),
            ReportError::Overloaded => status(Reason::Overloaded, message),
            ReportError::NotReplicated => status(Reason::NotReplicated, message),
            ReportError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            // Calls apply no catalogs.
            StoreError::Changed(_) | StoreError::UsedMeanwhile => status(Reason::ImportConflict, error.to_string()),
            StoreError::Clock(_) => {
                tracing::error!(%error, "a call failed");
                status(Reason::ClockSkew, error.to_string())
            }
            StoreError::Corrupt(_) | StoreError::Missing(_) => {
                tracing::error!(%error, "a call failed");
                internal()
            }
        }
    }
}

/// The database's own message is for the log, not for the caller.
impl From<DatabaseError> for Status {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable(_) => {
                tracing::warn!(%error, "a call failed");
                status(Reason::DatabaseUnavailable, "the database is not available; try again")
            }
            // Another try would take as long.
            DatabaseError::StatementTimeout => {
                tracing::warn!(%error, "a call failed");
                status(Reason::StatementTimeout, error.to_string())
            }
            // The configuration is at fault, and operators read the log.
            DatabaseError::Forbidden(_) => {
                tracing::error!(
                    %error,
                    "a call failed; `migrate --grant-to` gives rights again after an upgrade, and imports need \
                     --import-database-url where reports are served by an account that may only read"
                );
                let message = "the server's database account may not do this; its log has the details";
                status(Reason::DatabaseRightMissing, message)
            }
            DatabaseError::Failed(_)
            | DatabaseError::Malformed(_)
            | DatabaseError::InvalidOptions(_)
            | DatabaseError::Unsuitable(_) => {
                tracing::error!(%error, "a call failed");
                internal()
            }
        }
    }
}

impl From<CloseError> for Status {
    fn from(error: CloseError) -> Self {
        let reason = match error {
            CloseError::OrganizationNotFound(hidden) => return ReportError::OrganizationNotFound(hidden).into(),
            CloseError::Store(error) => return error.into(),
            CloseError::NotOver { .. } => Reason::MonthNotOver,
            CloseError::OutOfOrder { .. } | CloseError::BeforeFirst { .. } => Reason::MonthOutOfOrder,
            CloseError::Unpriced { .. } => Reason::UsageUnpriced,
            CloseError::MissingDays { .. } => Reason::DaysMissing,
            CloseError::Conflict => Reason::CloseConflict,
        };
        status(reason, error.to_string())
    }
}

impl From<ImportError> for Status {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Invalid(error) => error.into(),
            // Calls read no files, so the server is at fault.
            ImportError::Io { .. } | ImportError::UnsupportedFormat { .. } => {
                tracing::error!(%error, "an import failed");
                internal()
            }
            ImportError::TooLarge(_) => status(Reason::RequestTooLarge, error.to_string()),
            ImportError::UnknownTenant => ReportError::TenantNotFound(Hidden::Unknown).into(),
            ImportError::NothingToWithdraw { .. } => status(Reason::UsageNotFound, error.to_string()),
            ImportError::Store(error) => error.into(),
        }
    }
}

impl From<InvalidUsage> for Status {
    fn from(error: InvalidUsage) -> Self {
        let violations = error.first.iter().map(|problem| {
            let field = match problem.column {
                "" => format!("records[{}]", problem.number),
                column => format!("records[{}].{}", problem.number, field_name(column)),
            };
            FieldViolation::new(field, format!("{:?}: {}", problem.value, problem.reason))
        });
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

/// The contract's name of a column. Columns have the JSON names of the fields.
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

pub(super) fn internal() -> Status {
    status(Reason::Internal, "an internal error; the server's log has the details")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::documented_reasons;

    #[test]
    fn each_reason_has_the_code_that_the_documents_say() {
        let documented = documented_reasons();
        assert!(!documented.is_empty());
        for (documented, reason) in documented {
            let known: Reason = reason.parse().expect("a reason");
            assert_eq!(crate::service::codes::code_name(code(known)), documented, "{reason}");
        }
    }
}
