//! Bearer tokens: JWTs (RFC 7519) signed by an issuer for this service.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};

use super::{
    claims::{ClaimPath, Claims},
    error::Unauthenticated,
    issuer::{IssuerKeys, KeyAges, KeysUnavailable},
    keys::{Keys, is_accepted},
    principal::Principal,
    unique_json::UniqueObject,
};
use crate::reload::{RELOAD_INTERVAL, Reloaded};

/// The maximum size of a token. Issuers that list many groups make tokens of some 16 KiB.
pub(super) const MAX_TOKEN_BYTES: usize = 32 << 10;
/// Claims that name the client program, in order of preference: OIDC and Keycloak, RFC 8693, Entra ID.
const CLIENT_CLAIMS: [&str; 3] = ["azp", "client_id", "appid"];

/// Which tokens are accepted, and which claims are read.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// The expected `iss`. Without a file of keys, this is also the URL where discovery starts.
    pub issuer: String,
    /// The expected `aud`: one of these is enough.
    pub audiences: Vec<String>,
    /// A JWK set with the issuer's keys, instead of discovery; read again when it changes.
    pub jwks: Option<PathBuf>,
    pub roles_claim: ClaimPath,
    pub organizations_claim: ClaimPath,
    /// The allowed difference between the issuer's clock and this machine's.
    pub leeway: Duration,
    /// The age after which keys are fetched again in the background.
    pub key_refresh_age: Duration,
    /// The age after which keys that could not be fetched again are not used.
    pub max_key_age: Duration,
    /// How often the file of keys is checked for changes.
    pub reload_interval: Duration,
    /// The minimum time between two fetches of keys.
    pub min_fetch_interval: Duration,
}

pub(super) struct TokenVerifier {
    config: TokenConfig,
    source: KeySource,
}

enum KeySource {
    Issuer(Arc<IssuerKeys>),
    File(Reloaded<Keys>),
}

// === impl TokenConfig ===

impl TokenConfig {
    /// Tokens of an issuer for an audience, with the default claims.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            jwks: None,
            roles_claim: ClaimPath::roles(),
            organizations_claim: ClaimPath::organizations(),
            leeway: Duration::from_secs(60),
            key_refresh_age: Duration::from_secs(300),
            max_key_age: Duration::from_secs(86_400),
            reload_interval: RELOAD_INTERVAL,
            min_fetch_interval: Duration::from_secs(10),
        }
    }
}

// === impl TokenVerifier ===

impl TokenVerifier {
    /// Reads the keys from the file, or starts to fetch them in the background.
    pub(super) fn new(config: TokenConfig) -> Result<Self, String> {
        let source = match &config.jwks {
            Some(path) => {
                let path_text = path.display().to_string();
                let build = move |contents: &[Vec<u8>]| {
                    Keys::from_jwks(&contents[0]).map_err(|error| format!("{path_text}: {error}"))
                };
                KeySource::File(Reloaded::start("--jwks", vec![path.clone()], config.reload_interval, build)?)
            }
            None => {
                let keys = IssuerKeys::new(
                    &config.issuer,
                    KeyAges { refresh: config.key_refresh_age, max: config.max_key_age },
                    config.min_fetch_interval,
                )?;
                let warm_up = Arc::clone(&keys);
                tokio::spawn(async move { warm_up.warm_up().await });
                KeySource::Issuer(keys)
            }
        };
        Ok(Self { config, source })
    }

    /// Verifies a token and returns its caller.
    pub(super) async fn verify(&self, token: &str) -> Result<Principal, Unauthenticated> {
        let invalid = |reason: &str| Unauthenticated::InvalidToken(reason.to_owned());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("longer than 32 KiB"));
        }
        let header = decode_header(token).map_err(|_| invalid("not a JWT with a known algorithm"))?;
        if !is_accepted(header.alg) {
            return Err(invalid("signed with an algorithm other than RS256, ES256 and EdDSA"));
        }
        // Critical extensions (RFC 7515, section 4.1.11) must be understood; none is supported.
        if header.crit.is_some() {
            return Err(invalid("has critical extensions"));
        }
        let keys = match &self.source {
            KeySource::File(keys) => keys.get().find(header.kid.as_deref(), header.alg),
            KeySource::Issuer(keys) => {
                let found = keys.find(header.kid.as_deref(), header.alg).await;
                found.map_err(|KeysUnavailable| Unauthenticated::IssuerUnavailable)?
            }
        };
        self.principal(&self.claims(token, header.alg, &keys)?)
    }

    /// The claims of a token, if one of the keys has signed it and it is valid now and for this service.
    fn claims(&self, token: &str, algorithm: Algorithm, keys: &[DecodingKey]) -> Result<Claims, Unauthenticated> {
        let validation = self.validation(algorithm);
        for key in keys {
            match decode::<UniqueObject>(token, key, &validation) {
                Ok(verified) => return self.of_issuer(verified.claims.0),
                Err(error) => match error.into_kind() {
                    ErrorKind::InvalidSignature => {}
                    // The signature is valid, so only the owner of the token learns that it has expired.
                    ErrorKind::ExpiredSignature => return Err(self.expired(token, key, validation)),
                    kind => return Err(Unauthenticated::InvalidToken(claim_error(&kind))),
                },
            }
        }
        let reason =
            if keys.is_empty() { "signed with a key that the issuer does not have" } else { "the signature is wrong" };
        Err(Unauthenticated::InvalidToken(reason.to_owned()))
    }

    /// The error for an expired token, with its subject.
    fn expired(&self, token: &str, key: &DecodingKey, mut validation: Validation) -> Unauthenticated {
        validation.validate_exp = false;
        let claims = decode::<UniqueObject>(token, key, &validation).map(|verified| self.of_issuer(verified.claims.0));
        match claims.map(|claims| self.principal(&claims?)) {
            Ok(Ok(principal)) => Unauthenticated::ExpiredToken { subject: principal.subject().to_owned() },
            Ok(Err(error)) => error,
            Err(error) => Unauthenticated::InvalidToken(claim_error(error.kind())),
        }
    }

    /// The library takes a list of issuers, too, if one of them is right. `iss` is one text (RFC 7519, section 4.1.1).
    fn of_issuer(&self, claims: Claims) -> Result<Claims, Unauthenticated> {
        if claims.get("iss").and_then(serde_json::Value::as_str) == Some(&self.config.issuer) {
            return Ok(claims);
        }
        Err(Unauthenticated::InvalidToken(claim_error(&ErrorKind::InvalidIssuer)))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&self.config.audiences);
        validation.validate_nbf = true;
        validation.leeway = self.config.leeway.as_secs();
        validation
    }

    fn principal(&self, claims: &Claims) -> Result<Principal, Unauthenticated> {
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
        let client_id = CLIENT_CLAIMS.into_iter().find_map(text);
        // Some issuers omit the subject in tokens for programs.
        let Some(subject) = text("sub").or(client_id) else {
            return Err(Unauthenticated::InvalidToken("has no subject and no client".to_owned()));
        };
        let roles = self.config.roles_claim.texts(claims);
        let organizations = self.config.organizations_claim.texts(claims);
        Ok(Principal::new(subject, client_id, &roles, &organizations))
    }
}

/// What is wrong with the claims of a correctly signed token. The library's own messages may quote the token, so they
/// are not logged.
fn claim_error(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidIssuer => "from another issuer".to_owned(),
        ErrorKind::InvalidAudience => "for another audience".to_owned(),
        ErrorKind::ImmatureSignature => "not valid yet".to_owned(),
        ErrorKind::MissingRequiredClaim(name) => format!("has no claim {name}"),
        ErrorKind::InvalidClaimFormat(name) => format!("has a claim {name} of the wrong type"),
        _ => "the claims cannot be read, or one is given twice".to_owned(),
    }
}
