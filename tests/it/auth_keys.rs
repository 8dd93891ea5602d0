//! The issuer's keys: rotated, unreachable, unknown, or in a file.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, Header};
use secure_connect_reports::auth::{AuthConfig, TokenConfig};
use serde_json::json;
use tonic::{Code, transport::Channel};

use crate::support::{
    Database, Server,
    builder::{ORG, Row, csv},
    calls::{Rpc, reason},
    issuer::{AUDIENCE, Issuer, Signer},
};

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(server.url()).unwrap().connect().await.unwrap()
}

async fn list(channel: &Channel, token: &str) -> Result<(), (Code, String)> {
    Rpc::ListTenants.call(channel, &[&format!("Bearer {token}")]).await.map_err(|status| reason(&status))
}

fn invalid() -> Result<(), (Code, String)> {
    Err((Code::Unauthenticated, "TOKEN_INVALID".to_owned()))
}

/// Tries until it is so, or a long time has passed.
async fn becomes<F: Future<Output = Result<(), (Code, String)>>>(
    expected: &Result<(), (Code, String)>,
    call: impl Fn() -> F,
) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = call().await;
        if answer == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}, and never {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_rotate_while_requests_run() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let old = Signer::new(Algorithm::RS256, "old");
    let new = Signer::new(Algorithm::ES256, "new");
    let issuer = Issuer::start(&[&old]).await;
    let mut auth = issuer.auth();
    if let Some(tokens) = &mut auth.tokens {
        tokens.key_refresh_age = Duration::from_millis(500);
        tokens.min_fetch_interval = Duration::from_millis(50);
    }
    let server = database.serve_with(auth);
    let channel = channel(&server).await;
    let (by_old, by_new) = (old.sign(&issuer.claims(&[ORG])), new.sign(&issuer.claims(&[ORG])));

    // Somebody is always calling with a token of the old key, which stays good as long as the issuer has it.
    let caller = {
        let (channel, token) = (channel.clone(), by_old.clone());
        tokio::spawn(async move {
            for _ in 0..200 {
                list(&channel, &token).await.expect("a token whose key is known");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    assert_eq!(list(&channel, &by_new).await, invalid());
    issuer.set_keys(&[&old, &new]);
    becomes(&Ok(()), || list(&channel, &by_new)).await;
    caller.await.unwrap();
    // A key that is withdrawn is forgotten when the keys have grown old.
    issuer.set_keys(&[&new]);
    becomes(&invalid(), || list(&channel, &by_old)).await;
    assert_eq!(list(&channel, &by_new).await, Ok(()));
}

#[tokio::test]
async fn an_issuer_that_is_down_stops_no_token_whose_key_is_known() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::EdDSA, "known");
    let other = Signer::new(Algorithm::EdDSA, "other");
    let issuer = Issuer::start(&[&key]).await;
    issuer.set_up(false);
    let mut auth = issuer.auth();
    if let Some(tokens) = &mut auth.tokens {
        tokens.key_refresh_age = Duration::from_millis(1);
    }
    let server = database.serve_with(auth);
    let channel = channel(&server).await;
    let (token, unknown) = (key.sign(&issuer.claims(&[ORG])), other.sign(&issuer.claims(&[ORG])));
    // Without any key it cannot be told whether a token is good, and it is worth trying again.
    let status = Rpc::ListTenants.call(&channel, &[&format!("Bearer {token}")]).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "ISSUER_UNAVAILABLE".to_owned()));
    assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    // A server that is asked for its health says that it serves: a token is not its dependency.
    assert_eq!(list(&channel, "garbage").await, invalid());

    issuer.set_up(true);
    becomes(&Ok(()), || list(&channel, &token)).await;
    issuer.set_up(false);
    for _ in 0..10 {
        assert_eq!(list(&channel, &token).await, Ok(()));
        assert_eq!(list(&channel, &unknown).await, invalid());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    issuer.set_keys(&[&key, &other]);
    issuer.set_up(true);
    becomes(&Ok(()), || list(&channel, &unknown)).await;
    // What it says of itself must be what was asked for: keys of another issuer are not even fetched.
    issuer.pretend("https://evil.example");
    issuer.set_keys(&[&other]);
    let before = issuer.fetches();
    for _ in 0..10 {
        assert_eq!(list(&channel, &token).await, Ok(()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(issuer.fetches(), before);
}

/// A key that could not be looked for may have been withdrawn long ago.
#[tokio::test]
async fn keys_that_could_not_be_fetched_for_too_long_stop_counting() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::EdDSA, "known");
    let issuer = Issuer::start(&[&key]).await;
    let mut auth = issuer.auth();
    if let Some(tokens) = &mut auth.tokens {
        tokens.key_refresh_age = Duration::from_millis(10);
        tokens.min_fetch_interval = Duration::from_millis(10);
        tokens.max_key_age = Duration::from_secs(1);
    }
    let server = database.serve_with(auth);
    let channel = channel(&server).await;
    let token = key.sign(&issuer.claims(&[ORG]));
    becomes(&Ok(()), || list(&channel, &token)).await;
    issuer.set_up(false);
    let unavailable = Err((Code::Unavailable, "ISSUER_UNAVAILABLE".to_owned()));
    becomes(&unavailable, || list(&channel, &token)).await;
    for _ in 0..5 {
        assert_eq!(list(&channel, &token).await, unavailable, "it stays so");
    }
    issuer.set_up(true);
    becomes(&Ok(()), || list(&channel, &token)).await;
}

#[tokio::test]
async fn ten_thousand_unknown_key_ids_are_one_fetch_an_interval() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::EdDSA, "known");
    let issuer = Issuer::start(&[&key]).await;
    let interval = Duration::from_millis(500);
    let mut auth = issuer.auth();
    if let Some(tokens) = &mut auth.tokens {
        tokens.min_fetch_interval = interval;
    }
    let server = database.serve_with(auth);
    let channel = channel(&server).await;
    let claims = issuer.claims(&[ORG]);
    assert_eq!(list(&channel, &key.sign(&claims)).await, Ok(()));
    let (before, start) = (issuer.fetches(), Instant::now());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..50 {
        let tokens: Vec<String> = (0..200)
            .map(|n| {
                let header = Header { kid: Some(format!("{caller}-{n}")), ..Header::new(Algorithm::EdDSA) };
                key.sign_with(&header, &claims)
            })
            .collect();
        let channel = channel.clone();
        callers.spawn(async move {
            for token in tokens {
                assert_eq!(list(&channel, &token).await, invalid());
            }
        });
    }
    callers.join_all().await;
    let most = start.elapsed().as_secs_f64() / interval.as_secs_f64() + 1.0;
    let fetches = issuer.fetches() - before;
    assert!(fetches as f64 <= most, "{fetches} fetches in {:?}", start.elapsed());
    // One more interval is one more fetch, however many ask.
    tokio::time::sleep(interval).await;
    let before = issuer.fetches();
    let unknown = Signer::new(Algorithm::EdDSA, "unknown").sign(&claims);
    for _ in 0..10 {
        assert_eq!(list(&channel, &unknown).await, invalid());
    }
    assert_eq!(issuer.fetches() - before, 1);
    assert_eq!(list(&channel, &key.sign(&claims)).await, Ok(()));
}

#[tokio::test]
async fn keys_come_from_a_file_where_there_is_no_way_to_the_issuer() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::ES256, "one");
    let jwks = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwks.path(), json!({"keys": [key.jwk()]}).to_string()).unwrap();
    let issuer = "https://issuer.invalid";
    let tokens = TokenConfig {
        jwks: Some(jwks.path().to_owned()),
        reload_interval: Duration::from_millis(50),
        ..TokenConfig::new(issuer, AUDIENCE)
    };
    let server = database.serve_with(AuthConfig { tokens: Some(tokens), ..AuthConfig::default() });
    let channel = channel(&server).await;
    let claims = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "joe", "exp": crate::support::issuer::now() + 600,
        "roles": "Reports", "organizations": ORG,
    });
    assert_eq!(list(&channel, &key.sign(&claims)).await, Ok(()));
    let second = Signer::new(Algorithm::ES256, "two");
    assert_eq!(list(&channel, &second.sign(&claims)).await, invalid());
    std::fs::write(jwks.path(), json!({"keys": [second.jwk()]}).to_string()).unwrap();
    let by_second = second.sign(&claims);
    becomes(&Ok(()), || list(&channel, &by_second)).await;
    assert_eq!(list(&channel, &key.sign(&claims)).await, invalid());
}

#[tokio::test]
async fn keys_come_from_where_the_issuer_says_and_from_nowhere_else() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::EdDSA, "evil");
    let unavailable = Err((Code::Unavailable, "ISSUER_UNAVAILABLE".to_owned()));
    // A description that would do, if it were not for the way to it.
    let honest = Issuer::start(&[]).await;
    let evil = Issuer::start(&[&key]).await;
    evil.pretend(&honest.url());
    honest.redirect(&evil.url());
    let token = key.sign(&honest.claims(&[ORG]));
    let server = database.serve_with(honest.auth());
    assert_eq!(list(&channel(&server).await, &token).await, unavailable);
    assert_eq!(evil.fetches(), 0);

    for keys in ["https://127.0.0.1:1/keys", "ftp://127.0.0.1/keys", "http://192.0.2.1/keys", "keys"] {
        let issuer = Issuer::start(&[&key]).await;
        issuer.move_keys(keys);
        let server = database.serve_with(issuer.auth());
        let token = key.sign(&issuer.claims(&[ORG]));
        assert_eq!(list(&channel(&server).await, &token).await, unavailable, "{keys}");
    }
}
