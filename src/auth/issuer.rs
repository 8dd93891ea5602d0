//! An OIDC issuer's keys: found by discovery, kept, and fetched anew when they are old or one is missing.
//!
//! Fetching never stands in the way of a token whose key is known. There is one fetch at a time and at most one in an
//! interval, whoever asks, so that tokens with made-up key ids cannot turn this service against its issuer.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::keys::Keys;
use crate::network::{causes, is_loopback};

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Far above the size of real issuers' documents.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// Keys older than this many times the age at which they are fetched again are not used before a fetch was tried.
const MAX_STALE_FACTOR: u32 = 12;
/// Where discovery is, below the issuer (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY_PATH: &str = ".well-known/openid-configuration";

pub(super) struct IssuerKeys {
    issuer: String,
    discovery: Url,
    http: reqwest::Client,
    ages: KeyAges,
    min_interval: Duration,
    cached: RwLock<Arc<Cached>>,
    /// When the last fetch started. Locked during a fetch.
    last_fetch: Mutex<Option<Instant>>,
}

/// How old keys become.
#[derive(Clone, Copy)]
pub(super) struct KeyAges {
    /// Older ones are fetched again in the background.
    pub(super) refresh: Duration,
    /// Older ones are not used: a key may have been withdrawn since.
    pub(super) max: Duration,
}

#[derive(Default)]
struct Cached {
    keys: Keys,
    /// `None` before the first successful fetch.
    fetched: Option<Instant>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The issuer's keys were never fetched, or not for too long, so no token can be verified.
#[derive(Debug)]
pub(super) struct KeysUnavailable;

// === impl IssuerKeys ===

impl IssuerKeys {
    /// Does not fetch anything.
    pub(super) fn new(issuer: &str, ages: KeyAges, min_interval: Duration) -> Result<Arc<Self>, String> {
        let discovery = discovery_url(issuer)?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            // Keys must come from where the issuer says, so redirects are not followed.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(discovery.host_str()) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| format!("HTTPS: {}", causes(&error)))?;
        Ok(Arc::new(Self {
            issuer: issuer.to_owned(),
            discovery,
            http,
            ages,
            min_interval,
            cached: RwLock::default(),
            last_fetch: Mutex::default(),
        }))
    }

    /// Fetches the keys before the first token arrives. A failure is only logged: the next token tries again.
    pub(super) async fn warm_up(self: &Arc<Self>) {
        self.refresh(None).await;
    }

    /// The keys that may have signed a token; empty if the issuer has no such key.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, KeysUnavailable> {
        let cached = self.cached();
        let found = cached.keys.find(id, algorithm);
        let age = cached.fetched.map_or(Duration::MAX, |at| at.elapsed());
        if !found.is_empty() && age < self.ages.refresh.min(self.ages.max) {
            return Ok(found);
        }
        let must_wait = found.is_empty() || age >= self.ages.max.min(self.ages.refresh * MAX_STALE_FACTOR);
        if !must_wait && self.last_fetch.try_lock().is_err() {
            // A fetch is running.
            return Ok(found);
        }
        // In a task: a caller who hangs up must not stop a fetch that others wait for.
        let issuer = Arc::clone(self);
        let refresh = tokio::spawn(async move { issuer.refresh(cached.fetched).await });
        if !must_wait {
            return Ok(found);
        }
        // After a time without calls, a key may have been withdrawn unnoticed. If the fetch fails, the known keys
        // remain valid until they have their maximum age.
        let _ = refresh.await;
        let cached = self.cached();
        if cached.fetched.is_none_or(|at| at.elapsed() >= self.ages.max) {
            return Err(KeysUnavailable);
        }
        Ok(cached.keys.find(id, algorithm))
    }

    fn cached(&self) -> Arc<Cached> {
        Arc::clone(&self.cached.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys, unless another call has fetched newer ones than `seen`, or the last fetch is too recent.
    async fn refresh(&self, seen: Option<Instant>) {
        let mut last_fetch = self.last_fetch.lock().await;
        if self.cached().fetched != seen || last_fetch.is_some_and(|at| at.elapsed() < self.min_interval) {
            return;
        }
        *last_fetch = Some(Instant::now());
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await;
        match fetched.unwrap_or_else(|_| Err(format!("{}: did not answer in time", self.discovery))) {
            Ok(keys) => {
                tracing::debug!(issuer = self.issuer, "fetched the issuer's keys");
                let cached = Cached { keys, fetched: Some(Instant::now()) };
                *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(cached);
            }
            Err(error) => {
                tracing::warn!(
                    issuer = self.issuer,
                    error,
                    "cannot fetch the issuer's keys; the known keys stay in use until --max-key-age"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, String> {
        // Fetched each time, since an issuer may move its keys.
        let discovery: Discovery = serde_json::from_slice(&self.get(&self.discovery).await?)
            .map_err(|error| format!("{}: not an OpenID configuration: {error}", self.discovery))?;
        if discovery.issuer != self.issuer {
            return Err(format!("{}: is for another issuer, {:?}", self.discovery, discovery.issuer));
        }
        let url = Url::parse(&discovery.jwks_uri)
            .map_err(|error| format!("{}: jwks_uri {:?}: {error}", self.discovery, discovery.jwks_uri))?;
        if url.scheme() != self.discovery.scheme() {
            return Err(format!("{}: its keys are at {url}, which has another scheme", self.discovery));
        }
        check_transport(&url)?;
        Keys::from_jwks(&self.get(&url).await?).map_err(|error| format!("{url}: {error}"))
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, String> {
        let failed = |error: reqwest::Error| format!("{url}: {}", causes(&error.without_url()));
        let mut response =
            self.http.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("{url}: answered {}", response.status()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            document.extend_from_slice(&chunk);
            if document.len() > MAX_DOCUMENT_BYTES {
                return Err(format!("{url}: answered more than {MAX_DOCUMENT_BYTES} bytes"));
            }
        }
        Ok(document)
    }
}

/// The URL of the issuer's discovery document.
pub(super) fn discovery_url(issuer: &str) -> Result<Url, String> {
    let text = format!("{}/{DISCOVERY_PATH}", issuer.trim_end_matches('/'));
    let url = Url::parse(&text).map_err(|error| format!("{issuer:?} is not the URL of an issuer: {error}"))?;
    let extra = url.query().is_some() || url.fragment().is_some();
    if extra || !url.username().is_empty() || url.password().is_some() {
        // It may contain a password, so it is not quoted.
        return Err("the URL of an issuer must not have a user, password, query or fragment".to_owned());
    }
    check_transport(&url)?;
    Ok(url)
}

/// Keys must come over HTTPS: an attacker who can replace them can forge tokens.
fn check_transport(url: &Url) -> Result<(), String> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url.host_str()) => Ok(()),
        _ => Err(format!("{url}: keys are fetched over https only, except from this machine")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_below_the_issuer() {
        for (issuer, url) in [
            ("https://id.example", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/realms/a", "https://id.example/realms/a/.well-known/openid-configuration"),
            ("http://127.0.0.1:8080/a/", "http://127.0.0.1:8080/a/.well-known/openid-configuration"),
            ("http://[::1]:80", "http://[::1]/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(issuer).unwrap().as_str(), url);
        }
        for issuer in [
            "",
            "id.example",
            "http://id.example",
            "http://10.0.0.1",
            "ftp://localhost",
            "https://a/?b=c",
            "https://u:p@a",
        ] {
            assert!(discovery_url(issuer).is_err(), "{issuer}");
        }
    }
}
