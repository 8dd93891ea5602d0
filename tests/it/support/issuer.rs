//! An OIDC issuer on loopback, keys of every kind, and tokens good and bad.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use secure_connect_reports::{
    auth::{AuthConfig, Authenticator, Credentials, Principal, TokenConfig},
    model::OrganizationId,
};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) const AUDIENCE: &str = "reports-test";

/// A key with a name.
pub(crate) struct Signer {
    pub(crate) key: EncodingKey,
    pub(crate) algorithm: Algorithm,
    pub(crate) id: String,
}

/// The issuer; it stops with the test's runtime.
pub(crate) struct Issuer {
    address: SocketAddr,
    state: Arc<IssuerState>,
}

struct IssuerState {
    url: Mutex<String>,
    keys_url: Mutex<String>,
    redirect: Mutex<Option<String>>,
    keys: Mutex<Vec<Value>>,
    is_up: AtomicBool,
    fetches: AtomicUsize,
}

// === impl Signer ===

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, id: &str) -> Self {
        let key = match algorithm {
            Algorithm::RS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                // PKCS #8 wraps PKCS #1, which the library takes, in a header of 26 bytes.
                EncodingKey::from_rsa_der(&der.as_ref()[26..])
            }
            Algorithm::ES256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
                EncodingKey::from_ec_der(pkcs8.unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                EncodingKey::from_ed_der(der.as_ref())
            }
            other => panic!("no key for {other:?}"),
        };
        Self { key, algorithm, id: id.to_owned() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        self.sign_with(&header, claims)
    }

    pub(crate) fn sign_with(&self, header: &Header, claims: &impl Serialize) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

// === impl Issuer ===

impl Issuer {
    pub(crate) async fn start(signers: &[&Signer]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(IssuerState {
            url: Mutex::new(format!("http://{address}/realms/test")),
            keys_url: Mutex::new(format!("http://{address}/keys")),
            redirect: Mutex::default(),
            keys: Mutex::default(),
            is_up: AtomicBool::new(true),
            fetches: AtomicUsize::new(0),
        });
        let issuer = Self { address, state: Arc::clone(&state) };
        issuer.set_keys(signers);
        let router = Router::new()
            .route("/realms/test/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(state);
        // On a runtime of its own, so that a test that is busy does not hold it up.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listener = listener.into_std().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        issuer
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/realms/test", self.address)
    }

    /// Says that it is another issuer.
    pub(crate) fn pretend(&self, url: &str) {
        url.clone_into(&mut self.state.url.lock().unwrap());
    }

    /// Names another place for its keys.
    pub(crate) fn move_keys(&self, url: &str) {
        url.clone_into(&mut self.state.keys_url.lock().unwrap());
    }

    /// Sends whoever asks for its description elsewhere.
    pub(crate) fn redirect(&self, url: &str) {
        *self.state.redirect.lock().unwrap() = Some(url.to_owned());
    }

    pub(crate) fn set_keys(&self, signers: &[&Signer]) {
        *self.state.keys.lock().unwrap() = signers.iter().map(|signer| signer.jwk()).collect();
    }

    pub(crate) fn set_up(&self, is_up: bool) {
        self.state.is_up.store(is_up, Ordering::Relaxed);
    }

    /// How often its keys were fetched, or tried to be.
    pub(crate) fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::Relaxed)
    }

    /// Tokens of this issuer, without leeway and with short intervals.
    pub(crate) fn config(&self) -> TokenConfig {
        TokenConfig {
            leeway: Duration::ZERO,
            min_fetch_interval: Duration::from_millis(200),
            ..TokenConfig::new(self.url(), AUDIENCE)
        }
    }

    pub(crate) fn auth(&self) -> AuthConfig {
        AuthConfig { tokens: Some(self.config()), ..AuthConfig::default() }
    }

    /// What a good token says: both roles, for these organizations.
    pub(crate) fn claims(&self, organizations: &[&str]) -> Value {
        json!({
            "iss": self.url(), "aud": AUDIENCE, "sub": "joe", "azp": "billing-portal", "exp": now() + 600, "iat": now(),
            "roles": ["Reports", "UsageImport", "BillingClose"], "organizations": organizations,
        })
    }
}

async fn discovery(State(state): State<Arc<IssuerState>>) -> Response {
    if !state.is_up.load(Ordering::Relaxed) {
        state.fetches.fetch_add(1, Ordering::Relaxed);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(url) = state.redirect.lock().unwrap().clone() {
        return Redirect::temporary(&format!("{url}/.well-known/openid-configuration")).into_response();
    }
    let url = state.url.lock().unwrap().clone();
    Json(json!({"issuer": url, "jwks_uri": *state.keys_url.lock().unwrap()})).into_response()
}

async fn keys(State(state): State<Arc<IssuerState>>) -> Json<Value> {
    state.fetches.fetch_add(1, Ordering::Relaxed);
    let keys = state.keys.lock().unwrap().clone();
    Json(json!({"keys": keys}))
}

pub(crate) fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// A member of organizations, as a token makes one.
pub(crate) async fn member(organizations: &[&str]) -> Principal {
    for organization in organizations {
        organization.parse::<OrganizationId>().unwrap();
    }
    let signer = Signer::new(Algorithm::EdDSA, "member");
    let jwks = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwks.path(), json!({"keys": [signer.jwk()]}).to_string()).unwrap();
    let config =
        TokenConfig { jwks: Some(jwks.path().to_owned()), ..TokenConfig::new("https://issuer.invalid", AUDIENCE) };
    let authenticator = Authenticator::new(AuthConfig { tokens: Some(config), ..AuthConfig::default() }).unwrap();
    let claims = json!({
        "iss": "https://issuer.invalid", "aud": AUDIENCE, "sub": "joe", "exp": now() + 600,
        "roles": ["Reports", "UsageImport", "BillingClose"], "organizations": organizations,
    });
    let authorization = format!("Bearer {}", signer.sign(&claims));
    let credentials = Credentials { authorization: &[authorization.as_bytes()], certificate: None };
    authenticator.authenticate(credentials).await.unwrap()
}
