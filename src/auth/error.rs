//! Why a caller is not authenticated.

/// It is not known who calls. The messages are for the log; a caller is told less.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Neither a token nor a certificate.
    #[error("no credentials")]
    Missing,
    /// The token was good, once.
    #[error("the token has expired; it was that of {subject:?}")]
    ExpiredToken {
        /// Whose token it was.
        subject: String,
    },
    /// The token is not for this service, or not of its issuer, or no token.
    #[error("the token is invalid: {0}")]
    InvalidToken(String),
    /// The certificate is sound, and stands for nobody.
    #[error("the certificate is {0}")]
    UnknownCertificate(String),
    /// The issuer's keys could not be fetched yet.
    #[error("the issuer's keys have not been fetched yet")]
    IssuerUnavailable,
}
