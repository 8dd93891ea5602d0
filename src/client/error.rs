//! Why a client did not get what it asked for.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::retry::is_transient;
use crate::{
    contract::{InvalidMessage, Reason},
    network::causes,
};

/// A call failed, or its answer cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one.
    #[error(
        "{server:?} is not the URL of a server ({reason}); it looks like http://127.0.0.1:50051 or https://reports.example:50051"
    )]
    InvalidServer {
        /// What was given.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The token has characters that a header cannot have.
    #[error("the token is not one: it holds a line end or another character that a header cannot have")]
    InvalidToken,
    /// The token could be read on its way.
    #[error(
        "{0} is neither on this machine nor reached by https, so the token would go there in plain text: use https://, or \
         --insecure-plaintext-token where the way is secured otherwise"
    )]
    PlaintextToken(String),
    /// A certificate or key makes no sense.
    #[error("{0}")]
    Tls(String),
    /// Nothing answers.
    #[error(
        "cannot reach the server at {server}: {cause}. Is it running? `secure-connect-reports serve` starts one, and --server names another"
    )]
    Unreachable {
        /// The URL.
        server: String,
        /// What the network said.
        cause: String,
        /// Whether another try may do better: nothing is wrong with what was asked for.
        is_transient: bool,
    },
    /// The server can be reached, and did not answer.
    #[error(
        "{server} did not answer {call}: {cause}. Is it running, and does it speak what the URL says (http:// or https://)? \
         `secure-connect-reports healthcheck` asks it"
    )]
    NoAnswer {
        /// The URL.
        server: String,
        /// The RPC.
        call: &'static str,
        /// What the transport said.
        cause: String,
    },
    /// No tenant that the caller may see has the name.
    #[error("there is no tenant named {0:?}; `secure-connect-reports tenants` lists those that you may see")]
    UnknownTenant(String),
    /// Several tenants have the name.
    #[error("several tenants are named {name:?}; name one by its id:\n  {}", candidates.join("\n  "))]
    AmbiguousTenant {
        /// The name.
        name: String,
        /// Id and organization of each.
        candidates: Vec<String>,
    },
    /// The server refused or failed.
    #[error("{message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// The server's reason, for instance `TENANT_NOT_FOUND`; empty where it gave none.
        reason: String,
        /// For people.
        message: String,
    },
    /// The stream ended before the report did.
    #[error("the stream ended after {received} of {expected} records")]
    Incomplete {
        /// How many came.
        received: u64,
        /// How many there are.
        expected: u64,
    },
    /// The records are not what the summary says.
    #[error("the records do not add up to the report's summary: {0}; nothing of it can be used")]
    Mismatch(String),
    /// The server does not go on where the download was.
    #[error("the download cannot go on: {0}")]
    CannotResume(String),
    /// A checkpoint is of another download.
    #[error("that is of another report, filter or format: give the same options as before")]
    CheckpointMismatch,
    /// The server sent what the contract does not allow.
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

    /// Whether another try may do better: the server is away, or says so.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { is_transient, .. } => *is_transient,
            Self::NoAnswer { .. } => true,
            Self::Refused { code, reason, .. } => is_transient(*code, reason),
            _ => false,
        }
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
            return Self::NoAnswer { server: server.to_owned(), call, cause };
        }
        let message = match code {
            Code::Unauthenticated if reason == Reason::TokenMissing.as_str() => {
                "the server asks who calls: give a token with SCR_TOKEN or --token-file, or a client certificate"
                    .to_owned()
            }
            Code::NotFound => format!("{}; `secure-connect-reports tenants` lists what you may see", status.message()),
            Code::Unimplemented => format!("{server} does not serve Secure Connect reports"),
            _ => status.message().to_owned(),
        };
        Self::Refused { code, reason, message }
    }
}
