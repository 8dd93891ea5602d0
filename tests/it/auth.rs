//! Tokens, good and bad, against every RPC of a real server.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

use crate::support::{
    Database, Server,
    builder::{ORG, ORG_EUR, Row, csv},
    calls::{Rpc, reason, seen},
    issuer::{Issuer, Signer, now},
};

const INVALID: Answer = Answer::Refused(Code::Unauthenticated, "TOKEN_INVALID");
const MISSING: Answer = Answer::Refused(Code::Unauthenticated, "TOKEN_MISSING");
const EXPIRED: Answer = Answer::Refused(Code::Unauthenticated, "TOKEN_EXPIRED");
const NO_ROLE: Answer = Answer::Refused(Code::PermissionDenied, "ROLE_MISSING");
const NO_ORGANIZATIONS: Answer = Answer::Refused(Code::PermissionDenied, "NO_ORGANIZATIONS");
const NO_TENANT: Answer = Answer::Refused(Code::NotFound, "TENANT_NOT_FOUND");
const NO_ORGANIZATION: Answer = Answer::Refused(Code::NotFound, "ORGANIZATION_NOT_FOUND");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Fine,
    Refused(Code, &'static str),
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(server.url()).unwrap().connect().await.unwrap()
}

async fn served() -> Database {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    database
}

/// Claims with some of them changed; null takes a claim away.
fn but(claims: &Value, changes: Value) -> Value {
    let mut claims = claims.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims.into()
}

/// Claims, and one of them once more.
struct Doubled<'a>(&'a Value, &'a str, Value);

impl serde::Serialize for Doubled<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(claims, name, value) = self;
        let claims = claims.as_object().unwrap().iter();
        serializer.collect_map(claims.chain([(&(*name).to_owned(), value)]))
    }
}

/// Claims, and one with an object that names a member twice.
struct DoubledInside<'a>(&'a Value);

impl serde::Serialize for DoubledInside<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let access = json!({"roles": ["Reports"]});
        let mut claims: std::collections::BTreeMap<&str, Member<'_>> =
            self.0.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), Member::Plain(value))).collect();
        claims.insert("realm_access", Member::Doubled(Doubled(&access, "roles", json!("UsageImport"))));
        serializer.collect_map(claims)
    }
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Member<'a> {
    Plain(&'a Value),
    Doubled(Doubled<'a>),
}

/// A token whose header names its algorithm twice.
fn doubled_algorithm(token: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    let header = r#"{"typ": "JWT", "alg": "none", "kid": "ed", "alg": "EdDSA"}"#;
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

/// A token with a header as it is given, and the signature of another token.
fn forged(header: &Value, token: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn every_token_gets_its_answer_from_every_rpc() {
    let database = served().await;
    let rsa = Signer::new(Algorithm::RS256, "rsa");
    let ec = Signer::new(Algorithm::ES256, "ec");
    let ed = Signer::new(Algorithm::EdDSA, "ed");
    let stranger = Signer::new(Algorithm::EdDSA, "stranger");
    let issuer = Issuer::start(&[&rsa, &ec, &ed]).await;
    let server = database.serve_with(issuer.auth());
    let channel = channel(&server).await;

    let good = issuer.claims(&[ORG]);
    let with = |changes: Value| ed.sign(&but(&good, changes));
    let token = ed.sign(&good);
    // A key that has the name of a good one, and a public key taken for a secret.
    let impostor = Signer { id: "ed".to_owned(), ..Signer::new(Algorithm::EdDSA, "") };
    let public: Vec<EncodingKey> = [rsa.jwk()["n"].as_str().unwrap().as_bytes(), rsa.jwk().to_string().as_bytes()]
        .iter()
        .map(|secret| EncodingKey::from_secret(secret))
        .collect();
    let hs256 = |key: &EncodingKey| {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good, key).unwrap()
    };
    let critical =
        Header { kid: Some("ed".to_owned()), crit: Some(vec!["b64".to_owned()]), ..Header::new(ed.algorithm) };
    let nameless = Header::new(Algorithm::EdDSA);
    let large = |size: usize| with(json!({"padding": "x".repeat(size)}));
    assert!((20_000..21_500).contains(&large(15_000).len()), "{}", large(15_000).len());
    let bearer = |token: &str| vec![format!("Bearer {token}")];

    let everyone = [Answer::Fine; 6];
    let nobody = |answer: Answer| [answer; 6];
    // By a scope that is elsewhere, or has a foreign tenant's organization only: the list is there, the rest is not.
    let elsewhere = [Answer::Fine, NO_TENANT, NO_ORGANIZATION, NO_ORGANIZATION, Answer::Fine, NO_TENANT];
    let cases: Vec<(&str, Vec<String>, [Answer; 6])> = vec![
        ("RS256", bearer(&rsa.sign(&good)), everyone),
        ("ES256", bearer(&ec.sign(&good)), everyone),
        ("EdDSA", bearer(&token), everyone),
        ("scheme in lower case", vec![format!("bearer {token}")], everyone),
        ("no key id", bearer(&ed.sign_with(&nameless, &good)), everyone),
        ("20 KiB", bearer(&large(15_000)), everyone),
        ("one of several audiences", bearer(&with(json!({"aud": ["other", "reports-test"]}))), everyone),
        ("roles as words", bearer(&with(json!({"roles": "UsageImport Reports"}))), everyone),
        ("organizations as words", bearer(&with(json!({"organizations": format!("{ORG} {ORG_EUR}")}))), everyone),
        ("two organizations", bearer(&with(json!({"organizations": [ORG, ORG_EUR]}))), everyone),
        ("every organization", bearer(&with(json!({"organizations": "*"}))), everyone),
        ("no subject, but a client", bearer(&with(json!({"sub": null}))), everyone),
        ("no token", vec![], nobody(MISSING)),
        ("empty header", vec![String::new()], nobody(INVALID)),
        ("no token after the scheme", vec!["Bearer ".to_owned()], nobody(INVALID)),
        ("another scheme", vec![format!("Basic {token}")], nobody(INVALID)),
        ("no scheme", vec![token.clone()], nobody(INVALID)),
        ("two tokens", vec![format!("Bearer {token}"), format!("Bearer {token}")], nobody(INVALID)),
        ("garbage", bearer("garbage"), nobody(INVALID)),
        ("three segments of garbage", bearer("gar.ba.ge"), nobody(INVALID)),
        ("three segments of base64", bearer("Z2Fy.YmE.Z2U"), nobody(INVALID)),
        ("20 KiB of garbage", bearer(&"x".repeat(20 << 10)), nobody(INVALID)),
        ("more than 32 KiB", bearer(&large(25_000)), nobody(INVALID)),
        ("four segments", bearer(&format!("{token}.x")), nobody(INVALID)),
        ("no signature", bearer(token.rsplit_once('.').unwrap().0), nobody(INVALID)),
        ("empty signature", bearer(&format!("{}.", token.rsplit_once('.').unwrap().0)), nobody(INVALID)),
        ("wrong key", bearer(&impostor.sign(&good)), nobody(INVALID)),
        ("unknown key id", bearer(&stranger.sign(&good)), nobody(INVALID)),
        ("key of another kind", bearer(&forged(&json!({"alg": "EdDSA", "kid": "rsa"}), &token)), nobody(INVALID)),
        ("alg none", bearer(&forged(&json!({"alg": "none"}), &token)), nobody(INVALID)),
        (
            "alg none without signature",
            bearer(&format!("{}.", forged(&json!({"alg": "none"}), &token).rsplit_once('.').unwrap().0)),
            nobody(INVALID),
        ),
        ("alg NONE", bearer(&forged(&json!({"alg": "NONE", "kid": "ed"}), &token)), nobody(INVALID)),
        ("alg missing", bearer(&forged(&json!({"kid": "ed"}), &token)), nobody(INVALID)),
        ("HS256 with the modulus", bearer(&hs256(&public[0])), nobody(INVALID)),
        ("HS256 with the public key", bearer(&hs256(&public[1])), nobody(INVALID)),
        ("RS512", bearer(&forged(&json!({"alg": "RS512", "kid": "rsa"}), &rsa.sign(&good))), nobody(INVALID)),
        ("critical extension", bearer(&ed.sign_with(&critical, &good)), nobody(INVALID)),
        ("expired", bearer(&with(json!({"exp": now() - 1}))), nobody(EXPIRED)),
        ("expired long ago", bearer(&with(json!({"exp": 1}))), nobody(EXPIRED)),
        ("expired, by a stranger", bearer(&stranger.sign(&but(&good, json!({"exp": 1})))), nobody(INVALID)),
        ("expired, wrong key", bearer(&impostor.sign(&but(&good, json!({"exp": 1})))), nobody(INVALID)),
        ("not yet valid", bearer(&with(json!({"nbf": now() + 60}))), nobody(INVALID)),
        ("wrong issuer", bearer(&with(json!({"iss": "https://evil.example"}))), nobody(INVALID)),
        ("issuer with a slash more", bearer(&with(json!({"iss": format!("{}/", issuer.url())}))), nobody(INVALID)),
        ("no issuer", bearer(&with(json!({"iss": null}))), nobody(INVALID)),
        ("issuer of a wrong type", bearer(&with(json!({"iss": 7}))), nobody(INVALID)),
        ("issuers, one of which is right", bearer(&with(json!({"iss": [issuer.url()]}))), nobody(INVALID)),
        ("an issuer given twice", bearer(&ed.sign(&Doubled(&good, "iss", json!(issuer.url())))), nobody(INVALID)),
        ("organizations given twice", bearer(&ed.sign(&Doubled(&good, "organizations", json!("*")))), nobody(INVALID)),
        ("a claim of others given twice", bearer(&ed.sign(&Doubled(&good, "sub", json!("joe")))), nobody(INVALID)),
        ("a claim given twice further in", bearer(&ed.sign(&DoubledInside(&good))), nobody(INVALID)),
        ("algorithm given twice", bearer(&doubled_algorithm(&token)), nobody(INVALID)),
        ("wrong audience", bearer(&with(json!({"aud": "reports-test-2"}))), nobody(INVALID)),
        ("wrong audiences", bearer(&with(json!({"aud": ["a", "b"]}))), nobody(INVALID)),
        ("no audience", bearer(&with(json!({"aud": null}))), nobody(INVALID)),
        ("empty audience", bearer(&with(json!({"aud": ""}))), nobody(INVALID)),
        ("no expiry", bearer(&with(json!({"exp": null}))), nobody(INVALID)),
        ("expiry of a wrong type", bearer(&with(json!({"exp": "tomorrow"}))), nobody(INVALID)),
        ("neither subject nor client", bearer(&with(json!({"sub": null, "azp": null}))), nobody(INVALID)),
        ("no roles", bearer(&with(json!({"roles": null}))), nobody(NO_ROLE)),
        ("empty roles", bearer(&with(json!({"roles": []}))), nobody(NO_ROLE)),
        ("other roles", bearer(&with(json!({"roles": ["Admin", "offline_access"]}))), nobody(NO_ROLE)),
        (
            "roles in another case",
            bearer(&with(json!({"roles": ["reports", "usageimport", "REPORTS"]}))),
            nobody(NO_ROLE),
        ),
        (
            "roles as an object",
            bearer(&with(json!({"roles": {"Reports": true, "UsageImport": true}}))),
            nobody(NO_ROLE),
        ),
        ("roles as a number", bearer(&with(json!({"roles": 1}))), nobody(NO_ROLE)),
        ("roles in another claim", bearer(&with(json!({"roles": null, "role": ["Reports"]}))), nobody(NO_ROLE)),
        (
            "Reports only",
            bearer(&with(json!({"roles": ["Reports"]}))),
            [Answer::Fine, Answer::Fine, Answer::Fine, Answer::Fine, NO_ROLE, NO_ROLE],
        ),
        (
            "UsageImport only",
            bearer(&with(json!({"roles": "UsageImport"}))),
            [NO_ROLE, NO_ROLE, NO_ROLE, NO_ROLE, Answer::Fine, Answer::Fine],
        ),
        ("no organizations", bearer(&with(json!({"organizations": null}))), nobody(NO_ORGANIZATIONS)),
        ("empty organizations", bearer(&with(json!({"organizations": []}))), nobody(NO_ORGANIZATIONS)),
        (
            "organizations without ids",
            bearer(&with(json!({"organizations": ["Acme", "**"]}))),
            nobody(NO_ORGANIZATIONS),
        ),
        ("organizations of a wrong type", bearer(&with(json!({"organizations": {"*": 1}}))), nobody(NO_ORGANIZATIONS)),
        ("another organization", bearer(&with(json!({"organizations": [ORG_EUR]}))), elsewhere),
        (
            "an unknown organization",
            bearer(&with(json!({"organizations": ["aaaaaaaa-0000-4000-8000-00000000ffff"]}))),
            elsewhere,
        ),
        (
            "neither role nor organizations",
            bearer(&with(json!({"roles": null, "organizations": null}))),
            nobody(NO_ROLE),
        ),
    ];

    let mut answers: HashMap<(&str, String), (String, Answer)> = HashMap::new();
    for (name, authorization, expected) in &cases {
        let authorization: Vec<&str> = authorization.iter().map(String::as_str).collect();
        assert_eq!(expected.len(), Rpc::all().len(), "{name}");
        for (rpc, expected) in Rpc::all().into_iter().zip(expected) {
            match (rpc.call(&channel, &authorization).await, expected) {
                (Ok(()), Answer::Fine) => {}
                (Err(status), Answer::Refused(code, wanted)) => {
                    assert_eq!(reason(&status), (*code, (*wanted).to_owned()), "{name}, {rpc:?}: {status:?}");
                    // The role that is missing is told, and it depends on the service.
                    let service = if *code == Code::PermissionDenied {
                        format!("{}", matches!(rpc, Rpc::ImportUsage | Rpc::WithdrawUsage))
                    } else {
                        String::new()
                    };
                    let seen = format!("{:?}", seen(&status));
                    let (first, _) = answers.entry((wanted, service)).or_insert((seen.clone(), *expected));
                    assert_eq!(&seen, first, "{name}, {rpc:?}: every {wanted} is the same answer");
                }
                (result, expected) => panic!("{name}, {rpc:?}: {result:?}, and not {expected:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_clock_may_be_off_by_the_leeway_and_no_more() {
    let database = served().await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let mut auth = issuer.auth();
    if let Some(tokens) = &mut auth.tokens {
        tokens.leeway = std::time::Duration::from_secs(60);
    }
    let server = database.serve_with(auth);
    let channel = channel(&server).await;
    for (changes, expected) in [
        (json!({"exp": now() - 50}), None),
        (json!({"exp": now() - 70}), Some("TOKEN_EXPIRED")),
        (json!({"nbf": now() + 50}), None),
        (json!({"nbf": now() + 70}), Some("TOKEN_INVALID")),
    ] {
        let token = format!("Bearer {}", key.sign(&but(&issuer.claims(&[ORG]), changes.clone())));
        let answer = Rpc::ListTenants.call(&channel, &[&token]).await;
        assert_eq!(answer.err().map(|status| reason(&status).1).as_deref(), expected, "{changes}");
    }
}

#[tokio::test]
async fn claims_are_where_the_configuration_says() {
    let database = served().await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let mut auth = issuer.auth();
    if let Some(tokens) = &mut auth.tokens {
        tokens.roles_claim = "realm_access.roles".parse().unwrap();
        tokens.organizations_claim = "https://provider.example/organizations".parse().unwrap();
        tokens.audiences.push("second".to_owned());
    }
    let server = database.serve_with(auth);
    let channel = channel(&server).await;
    let nested = json!({
        "roles": null, "realm_access": {"roles": ["Reports"]},
        "organizations": null, "https://provider.example/organizations": [ORG],
    });
    let claims = but(&issuer.claims(&[]), nested);
    for changes in [json!({}), json!({"aud": "second"})] {
        let token = format!("Bearer {}", key.sign(&but(&claims, changes)));
        Rpc::GetDetailedUsage.call(&channel, &[&token]).await.unwrap();
    }
    let flat = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let status = Rpc::GetDetailedUsage.call(&channel, &[&flat]).await.unwrap_err();
    assert_eq!(reason(&status), (Code::PermissionDenied, "ROLE_MISSING".to_owned()));
}

#[tokio::test]
async fn health_is_open_to_everyone_and_reflection_unless_it_is_closed() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};
    let database = served().await;
    let issuer = Issuer::start(&[&Signer::new(Algorithm::EdDSA, "ed")]).await;
    for reflection in [true, false] {
        let config = secure_connect_reports::service::ServerConfig {
            reflection,
            ..secure_connect_reports::service::ServerConfig::new(database.config(), issuer.auth())
        };
        let server = Server::start(config);
        let channel = channel(&server).await;
        HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
        let request = tokio_stream::once(ServerReflectionRequest::default());
        let answer = ServerReflectionClient::new(channel).server_reflection_info(request).await;
        assert_eq!(answer.is_ok(), reflection);
    }
}

#[tokio::test]
async fn a_stream_goes_on_when_its_token_expires() {
    let database = Database::with_catalog().await;
    let rows: Vec<Row> = (0..20_000).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:06}"))).collect();
    database.import(&csv(&rows)).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let channel = channel(&server).await;
    let expiry = now() + 2;
    let token = format!("Bearer {}", key.sign(&but(&issuer.claims(&[ORG]), json!({"exp": expiry}))));

    let request = crate::support::calls::request(
        crate::support::calls::detailed_usage(crate::support::builder::TENANT),
        &[&token],
    );
    let mut client =
        secure_connect_reports::contract::proto::reports_service_client::ReportsServiceClient::new(channel.clone());
    let mut stream = client.get_detailed_usage(request).await.unwrap().into_inner();
    let mut records = stream.message().await.unwrap().unwrap().records.len();
    while now() <= expiry {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let status = Rpc::ListTenants.call(&channel, &[&token]).await.unwrap_err();
    assert_eq!(reason(&status).1, "TOKEN_EXPIRED");
    let mut whole = false;
    while let Some(message) = stream.message().await.unwrap() {
        records += message.records.len();
        whole |= message.summary.is_some();
    }
    assert_eq!((records, whole), (20_000, true));
}
