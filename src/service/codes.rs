//! The gRPC codes of reasons, and their names.

use tonic::Code;

use crate::contract::Reason;

/// The code of a reason. Each reason comes with one code only.
pub(super) fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidArgument | Reason::InvalidUsage | Reason::RequestUnreadable => Code::InvalidArgument,
        Reason::RequestTooLarge | Reason::CallerLimit | Reason::TooManyGroups => Code::ResourceExhausted,
        Reason::Unimplemented => Code::Unimplemented,
        Reason::TenantNotFound | Reason::OrganizationNotFound | Reason::StatementNotFound | Reason::UsageNotFound => {
            Code::NotFound
        }
        Reason::ResumeTokenExpired
        | Reason::TicketExpired
        | Reason::ReportPurged
        | Reason::PageTokenExpired
        | Reason::MonthNotOver
        | Reason::MonthOutOfOrder
        | Reason::UsageUnpriced
        | Reason::DaysMissing
        | Reason::ClockSkew
        | Reason::DatabaseRightMissing => Code::FailedPrecondition,
        Reason::DatabaseUnavailable
        | Reason::ShuttingDown
        | Reason::Overloaded
        | Reason::ReaderStalled
        | Reason::ConnectionTooOld
        | Reason::AuditLogUnavailable
        | Reason::NotReplicated
        | Reason::IssuerUnavailable => Code::Unavailable,
        Reason::DeadlineExceeded | Reason::StatementTimeout | Reason::RequestStalled | Reason::ImporterStalled => {
            Code::DeadlineExceeded
        }
        Reason::ImportConflict | Reason::CloseConflict | Reason::NamesChanged => Code::Aborted,
        Reason::TokenMissing | Reason::TokenExpired | Reason::TokenInvalid | Reason::CertificateUnknown => {
            Code::Unauthenticated
        }
        Reason::RoleMissing | Reason::NoOrganizations => Code::PermissionDenied,
        Reason::Internal | Reason::Panic => Code::Internal,
        Reason::CallerGone => Code::Cancelled,
        // Warnings: the call succeeds.
        Reason::TrialExpired | Reason::AssetIdsAlike => Code::Ok,
    }
}

/// The name that the gRPC specification gives a code.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
