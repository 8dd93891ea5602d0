//! The errors of the client.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::transient::is_transient;
use crate::{
    contract::{InvalidMessage, Reason},
    model::printable,
    network::causes,
};

/// The longest message that is read: what clients have by default in every language. Servers stay below it.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How much of a server's text is shown.
const MAX_TEXT_BYTES: usize = 4096;

/// A call failed, or its answer cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "{server:?} is not a valid server URL ({reason}); examples: http://127.0.0.1:50051, \
         https://reports.example:50051"
    )]
    InvalidServer { server: String, reason: String },
    /// The token has characters that a header cannot have.
    #[error("the token is invalid: it contains a line break or another character that a header cannot contain")]
    InvalidToken,
    /// The token would be sent in plain text over a network.
    #[error(
        "the token would be sent to {0} in plain text: use https://, or --insecure-plaintext-token if the connection \
         is secured otherwise"
    )]
    PlaintextToken(String),
    /// A certificate or key is invalid or cannot be read.
    #[error("{0}")]
    Tls(String),
    /// No connection could be made.
    #[error(
        "cannot reach the server at {server}: {cause}. Check that it is running (`secure-connect-reports serve` \
         starts it) and that --server is correct"
    )]
    Unreachable {
        server: String,
        /// The error of the network.
        cause: String,
        /// Whether a retry may succeed.
        is_transient: bool,
    },
    /// The server can be reached but did not answer the call.
    #[error(
        "{server} did not answer {call}: {cause}. Check that it is running and that the URL has the right scheme \
         (http:// or https://): `secure-connect-reports healthcheck`"
    )]
    NoAnswer {
        server: String,
        call: &'static str,
        /// The error of the transport.
        cause: String,
    },
    /// No tenant that the caller may see has this name.
    #[error("there is no tenant named {0:?}; `secure-connect-reports tenants` lists the tenants that you may see")]
    UnknownTenant(String),
    #[error("several tenants are named {name:?}; use the id of one of them:\n  {}", candidates.join("\n  "))]
    AmbiguousTenant {
        name: String,
        /// Id and organization of each tenant.
        candidates: Vec<String>,
    },
    /// No organization that the caller may see has this name.
    #[error(
        "there is no organization named {0:?}; `secure-connect-reports organizations` lists the organizations that you \
         may see"
    )]
    UnknownOrganization(String),
    #[error("several organizations are named {name:?}; use the id of one of them:\n  {}", candidates.join("\n  "))]
    AmbiguousOrganization {
        name: String,
        /// The id of each organization.
        candidates: Vec<String>,
    },
    #[error("{message}")]
    Refused {
        code: Code,
        /// The reason in `ErrorInfo`, for instance `TENANT_NOT_FOUND`; empty if there is none.
        reason: String,
        message: String,
    },
    #[error("the stream ended after {received} of {expected} records")]
    Incomplete { received: u64, expected: u64 },
    /// The rest of a breakdown did not come.
    #[error("the costs are incomplete: the stream ended after {received} rows ({cause}); ask again")]
    Truncated {
        received: u64,
        /// How it ended.
        cause: String,
    },
    #[error("the records do not match the report's summary: {0}; do not use them")]
    Mismatch(String),
    /// The server cannot resume the download.
    #[error("the download cannot be resumed: {0}")]
    CannotResume(String),
    #[error("the checkpoint is of another report, filter or format; use the same options as before")]
    CheckpointMismatch,
    /// The answer is not one to the request: of another tenant or month, out of order, without end.
    #[error("the server's answer does not fit the request: {0}; do not use it")]
    WrongAnswer(String),
    /// The server sent a message that violates the contract.
    #[error("the server sent an invalid {0}")]
    Malformed(String),
}

impl From<InvalidMessage> for ClientError {
    fn from(error: InvalidMessage) -> Self {
        Self::Malformed(error.0)
    }
}

impl ClientError {
    pub(super) fn malformed(field: &str, value: impl std::fmt::Debug) -> Self {
        InvalidMessage::new(field, value).into()
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { is_transient, .. } => *is_transient,
            Self::NoAnswer { .. } => true,
            Self::Refused { code, reason, .. } => is_transient(*code, reason),
            _ => false,
        }
    }

    pub(super) fn wrong(answer: impl Into<String>) -> Self {
        Self::WrongAnswer(answer.into())
    }

    /// Whether what was received must not be used, since the server is not to be trusted.
    pub fn is_untrusted(&self) -> bool {
        matches!(self, Self::Mismatch(_) | Self::WrongAnswer(_) | Self::Malformed(_))
    }

    pub(super) fn from_status(server: &str, call: &'static str, status: &Status) -> Self {
        let code = status.code();
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        if reason.is_empty() && is_transient(code, "") {
            let mut cause = status.message().to_owned();
            if let Some(source) = std::error::Error::source(status) {
                let source = causes(source);
                if !cause.contains(&source) {
                    cause = format!("{cause}: {source}");
                }
            }
            return Self::NoAnswer { server: server.to_owned(), call, cause: said(&cause) };
        }
        // The transport refuses a message by its length; servers do not use the code.
        if code == Code::OutOfRange && reason.is_empty() {
            return Self::wrong(format!("a message has more than {} MiB", MAX_MESSAGE_BYTES >> 20));
        }
        let message = match code {
            Code::Unauthenticated if reason == Reason::TokenMissing.as_str() => {
                "the server requires authentication: provide a token with SCR_TOKEN or --token-file, or a client \
                 certificate"
                    .to_owned()
            }
            Code::NotFound => {
                let (command, what) = if reason == Reason::OrganizationNotFound.as_str() {
                    ("organizations", "organizations that you may see")
                } else if reason == Reason::StatementNotFound.as_str() {
                    ("statement list", "statements of an organization")
                } else {
                    ("tenants", "tenants that you may see")
                };
                format!("{}; `secure-connect-reports {command}` lists the {what}", said(status.message()))
            }
            Code::Unimplemented => format!("{server} does not serve Secure Connect reports"),
            _ => said(status.message()),
        };
        Self::Refused { code, reason: said(&reason), message }
    }
}

/// What a server says, fit for a terminal.
fn said(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    printable(&text[..end]).into_owned()
}
