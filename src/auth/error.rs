//! Why a caller is not authenticated.

/// The caller is not authenticated. The messages are for the log; callers get less detail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// The call has neither a token nor a client certificate.
    #[error("no credentials")]
    Missing,
    /// The token is valid except that it has expired.
    #[error("the token of {subject:?} has expired")]
    ExpiredToken {
        /// The subject of the token.
        subject: String,
    },
    /// The token is malformed, has a wrong signature, or is from another issuer or for another audience.
    #[error("the token is invalid: {0}")]
    InvalidToken(String),
    /// TLS accepted the certificate, but no configured caller has it.
    #[error("{0}")]
    UnknownCertificate(String),
    /// The issuer's keys could not be fetched, or not for too long, so no token can be verified.
    #[error("the issuer's keys could not be fetched, or not since --max-key-age")]
    IssuerUnavailable,
}
