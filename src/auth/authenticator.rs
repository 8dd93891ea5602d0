//! Authentication: from the credentials of a call to a principal.

use std::{path::PathBuf, time::Duration};

use rustls::pki_types::CertificateDer;

use super::{
    certificate::CertificateCallers,
    error::Unauthenticated,
    issuer::discovery_url,
    principal::Principal,
    token::{TokenConfig, TokenVerifier},
};
use crate::reload::Reloaded;

/// How callers prove who they are.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// Bearer tokens of an OpenID Connect issuer.
    pub tokens: Option<TokenConfig>,
    /// Client certificates, for calls without a token.
    pub certificates: Option<CertificateConfig>,
    /// No authentication: everyone may do everything. Excludes the other methods.
    pub insecure_no_auth: bool,
}

/// Which client certificates identify which callers.
#[derive(Clone, Debug)]
pub struct CertificateConfig {
    /// A TOML file that maps certificates to callers. It is read again when it changes.
    pub callers: PathBuf,
    /// How often the file is checked for changes.
    pub reload_interval: Duration,
}

/// The configuration of authentication is invalid.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// No method is configured, so nobody could call.
    #[error(
        "no authentication is configured: use --oidc-issuer and --audience for tokens, or --client-certificates for \
         client certificates. To try it on this machine, `secure-connect-reports token` creates a key and prints the \
         options to serve with it, and --insecure-no-auth turns authentication off"
    )]
    NoMethod,
    /// Authentication is turned off and configured at once.
    #[error("--insecure-no-auth cannot be used together with --oidc-issuer or --client-certificates")]
    ConflictingMethods,
    /// Without an audience, tokens for other services would be accepted.
    #[error("--oidc-issuer requires --audience, the `aud` of tokens for this service")]
    NoAudience,
    /// A file or the issuer's URL is invalid.
    #[error("{0}")]
    Invalid(String),
}

/// The credentials of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    pub authorization: &'a [&'a [u8]],
    /// The client certificate of the connection. TLS has verified its chain.
    pub certificate: Option<&'a CertificateDer<'static>>,
}

/// Authenticates callers.
pub struct Authenticator {
    tokens: Option<TokenVerifier>,
    certificates: Option<Reloaded<CertificateCallers>>,
    insecure_no_auth: bool,
}

// === impl AuthConfig ===

impl AuthConfig {
    /// Checks the configuration without reading files.
    pub fn check(&self) -> Result<(), AuthConfigError> {
        let secure = self.tokens.is_some() || self.certificates.is_some();
        match (secure, self.insecure_no_auth) {
            (false, false) => return Err(AuthConfigError::NoMethod),
            (true, true) => return Err(AuthConfigError::ConflictingMethods),
            _ => {}
        }
        if self.tokens.as_ref().is_some_and(|tokens| tokens.audiences.iter().all(String::is_empty)) {
            return Err(AuthConfigError::NoAudience);
        }
        if let Some(tokens) = self.tokens.as_ref().filter(|tokens| tokens.jwks.is_none()) {
            discovery_url(&tokens.issuer).map_err(AuthConfigError::Invalid)?;
        }
        Ok(())
    }
}

// === impl Authenticator ===

impl Authenticator {
    /// Reads the files. The keys of an issuer are fetched in the background.
    ///
    /// # Errors
    ///
    /// The configuration contradicts itself, or a file of keys or callers is invalid.
    pub fn new(config: AuthConfig) -> Result<Self, AuthConfigError> {
        config.check()?;
        let tokens = config.tokens.map(TokenVerifier::new).transpose().map_err(AuthConfigError::Invalid)?;
        let certificates = config.certificates.map(|config| {
            let path = config.callers.clone();
            let build = move |contents: &[Vec<u8>]| CertificateCallers::from_toml(&path, &contents[0]);
            Reloaded::start("--client-certificates", vec![config.callers], config.reload_interval, build)
        });
        let certificates = certificates.transpose().map_err(AuthConfigError::Invalid)?;
        Ok(Self { tokens, certificates, insecure_no_auth: config.insecure_no_auth })
    }

    /// Authenticates the caller. A token takes precedence over a certificate: a proxy may forward it over its own
    /// connection.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Unauthenticated> {
        if self.insecure_no_auth {
            return Ok(Principal::insecure_local());
        }
        if let Some(verifier) = &self.tokens
            && !credentials.authorization.is_empty()
        {
            return verifier.verify(bearer(credentials.authorization)?).await;
        }
        match (&self.certificates, credentials.certificate) {
            (Some(callers), Some(certificate)) => {
                callers.get().find(certificate).map_err(Unauthenticated::UnknownCertificate)
            }
            _ => Err(Unauthenticated::Missing),
        }
    }
}

/// The token of `Bearer <token>` (RFC 6750, section 2.1). The scheme is case-insensitive.
fn bearer<'a>(authorization: &[&'a [u8]]) -> Result<&'a str, Unauthenticated> {
    let invalid = |reason: &str| Unauthenticated::InvalidToken(reason.to_owned());
    let [value] = authorization else { return Err(invalid("the call has several `authorization` headers")) };
    let value = std::str::from_utf8(value).map_err(|_| invalid("not UTF-8"))?;
    let (scheme, token) = value.split_once(' ').ok_or_else(|| invalid("not of the form `Bearer <token>`"))?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(invalid("not of the form `Bearer <token>`"));
    }
    Ok(token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_comes_once_and_in_its_form() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(bearer(&[value.as_bytes()]), Ok("abc"), "{value}");
        }
        for values in
            [&[&b"Bearer abc"[..], b"Bearer abc"][..], &[b"Bearer"], &[b"Basic abc"], &[b"Bearer\xff abc"], &[b""]]
        {
            assert!(matches!(bearer(values), Err(Unauthenticated::InvalidToken(_))), "{values:?}");
        }
    }
}
