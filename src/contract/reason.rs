//! Why a call failed, for programs: the `reason` of `google.rpc.ErrorInfo`, in the domain [`REASON_DOMAIN`].

use std::{fmt, str::FromStr};

/// The domain of every [`Reason`].
pub const REASON_DOMAIN: &str = "secureconnect.reports";

/// One line declares a reason, its name on the wire and what it means.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $reason:ident = $name:literal,)+) => {
        /// Why a call failed, or what an import warns of. Names never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $reason,)+
        }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// A field is missing or wrong: `BadRequest` names it.
    InvalidArgument = "INVALID_ARGUMENT",
    /// Records of an import are wrong: `BadRequest` names the first ones.
    InvalidUsage = "INVALID_USAGE",
    /// The request is no message of the contract: use stubs of this version.
    RequestUnreadable = "REQUEST_UNREADABLE",
    /// A message of the request is longer than the server reads: send more and smaller messages.
    RequestTooLarge = "REQUEST_TOO_LARGE",
    /// The server does not have this method, or does not read compressed requests.
    Unimplemented = "UNIMPLEMENTED",
    /// The tenant does not exist, or the caller may not see it.
    TenantNotFound = "TENANT_NOT_FOUND",
    /// The organization does not exist, or the caller may not see it.
    OrganizationNotFound = "ORGANIZATION_NOT_FOUND",
    /// The statement does not exist, or it is of an organization that the caller may not see.
    StatementNotFound = "STATEMENT_NOT_FOUND",
    /// The source never delivered the usage that is to be withdrawn.
    UsageNotFound = "USAGE_NOT_FOUND",
    /// The report of the resume token is no longer kept: start again without the token.
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED",
    /// The report of the Flight ticket is no longer kept: ask `GetFlightInfo` for another ticket.
    TicketExpired = "TICKET_EXPIRED",
    /// Records of the report were purged: ask for another month or moment. Costs are still there.
    ReportPurged = "REPORT_PURGED",
    /// The costs changed between two pages: start again with the first page.
    PageTokenExpired = "PAGE_TOKEN_EXPIRED",
    /// Names of tenants changed while costs were read: ask again.
    NamesChanged = "NAMES_CHANGED",
    /// A tenant's month has more groups than the server adds up: ask for fewer groups, or select meters and regions.
    TooManyGroups = "TOO_MANY_GROUPS",
    /// A month that is to be closed is not over: wait for its end, in UTC.
    MonthNotOver = "MONTH_NOT_OVER",
    /// Months close in order: close the month that the message names first.
    MonthOutOfOrder = "MONTH_OUT_OF_ORDER",
    /// A month that is to be closed has usage without a price: give it one, or allow it.
    UsageUnpriced = "USAGE_UNPRICED",
    /// A source has not delivered days of a month that is to be closed: have them delivered, or allow it.
    DaysMissing = "DAYS_MISSING",
    /// Clocks of the server, its database and earlier publications disagree: an operator has to set them right.
    ClockSkew = "CLOCK_SKEW",
    /// The server has no connection to its database: try again.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE",
    /// The server is stopping: try again, a stream with its last resume token.
    ShuttingDown = "SHUTTING_DOWN",
    /// The server runs as many calls of this kind as it may: try again.
    Overloaded = "OVERLOADED",
    /// The caller runs as many calls of this kind as it may: let one of them end.
    CallerLimit = "CALLER_LIMIT",
    /// The server cannot write its audit log, and its operator wants no call without a line: try again.
    AuditLogUnavailable = "AUDIT_LOG_UNAVAILABLE",
    /// The caller did not read the answer for too long: read faster, and go on with the last resume token.
    ReaderStalled = "READER_STALLED",
    /// The connection of a stream without end, such as a watch of health, is too old: open another one.
    ConnectionTooOld = "CONNECTION_TOO_OLD",
    /// The caller's own deadline has passed: allow more time, and go on with the last resume token.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    /// What the import was checked against changed meanwhile: import again.
    ImportConflict = "IMPORT_CONFLICT",
    /// Another call closed a month of the organization meanwhile: make the call again.
    CloseConflict = "CLOSE_CONFLICT",
    /// A database statement took too long: ask for less.
    StatementTimeout = "STATEMENT_TIMEOUT",
    /// The standby that answers may not know the moment of the report yet: try again.
    NotReplicated = "NOT_REPLICATED",
    /// The request did not arrive in time: send it at once.
    RequestStalled = "REQUEST_STALLED",
    /// The next message of an import did not arrive in time: import again.
    ImporterStalled = "IMPORTER_STALLED",
    /// The call has neither a token nor a client certificate: send one.
    TokenMissing = "TOKEN_MISSING",
    /// The token has expired: get a new one.
    TokenExpired = "TOKEN_EXPIRED",
    /// The token is malformed, or not for this service: the server's audit log says what is wrong with it.
    TokenInvalid = "TOKEN_INVALID",
    /// No configured caller has the client certificate: add it to the server's callers.
    CertificateUnknown = "CERTIFICATE_UNKNOWN",
    /// The server could not fetch the issuer's keys yet: try again.
    IssuerUnavailable = "ISSUER_UNAVAILABLE",
    /// The caller lacks the role that the call needs: have it granted.
    RoleMissing = "ROLE_MISSING",
    /// The caller has the role for no organization: have one granted.
    NoOrganizations = "NO_ORGANIZATIONS",
    /// The server's database account lacks a right: its operator grants it.
    DatabaseRightMissing = "DATABASE_RIGHT_MISSING",
    /// The server is at fault: its log says why.
    Internal = "INTERNAL",
    /// Only in logs and metrics: a handler panicked where no answer could be given any more.
    Panic = "PANIC",
    /// Only in logs and metrics: the caller hung up before the call ended.
    CallerGone = "CALLER_GONE",
    /// A warning of an import: trial usage ends after its trial expired.
    TrialExpired = "TRIAL_EXPIRED",
    /// A warning of an import: ids of assets differ only in how Unicode spells them.
    AssetIdsAlike = "ASSET_IDS_ALIKE",
}

/// The text is the name of no reason of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason that this version knows")]
pub struct UnknownReason;

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// The table of errors in the documents: code and reason.
#[cfg(test)]
pub(crate) fn documented() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/api.md")).unwrap_or_default();
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let row = |line: &str| {
        let (code, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
        let (reason, _) = rest.split_once("` |")?;
        // Rows of options begin alike, with their environment variables.
        let is_error = is_name(code) && is_name(reason) && !reason.starts_with("SCR_");
        is_error.then(|| (code.to_owned(), reason.to_owned()))
    };
    page.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Reasons that are in no answer of a call that failed.
    const NOT_ANSWERED: [Reason; 4] = [Reason::Panic, Reason::CallerGone, Reason::TrialExpired, Reason::AssetIdsAlike];

    #[test]
    fn names_are_upper_snake_and_each_is_one_reason() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{name}");
            assert_eq!(name.parse(), Ok(*reason));
        }
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert_eq!("REASON".parse::<Reason>(), Err(UnknownReason));
    }

    #[test]
    fn the_documents_list_every_reason_that_a_caller_can_get() {
        let mut listed: Vec<_> = documented().into_iter().map(|(_, reason)| reason).collect();
        let answered = Reason::ALL.iter().filter(|reason| !NOT_ANSWERED.contains(reason));
        let mut answered: Vec<_> = answered.map(ToString::to_string).collect();
        listed.sort();
        answered.sort();
        assert_eq!(listed, answered);
    }
}
