//! The wire: TLS, certificates that are replaced, client certificates, and what is refused without TLS.

use std::{io::Write as _, net::TcpStream, path::Path, time::Duration};

use jsonwebtoken::Algorithm;
use rcgen::{DistinguishedName, DnType, SanType};
use secure_connect_reports::{
    auth::{AuthConfig, CertificateConfig},
    client::{Client, ClientConfig, ClientError},
    contract::proto::reports_service_client::ReportsServiceClient,
    service::{ConnectionLimits, RunningServer, ServeError, ServerConfig, TlsConfig},
};
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::support::{
    Database, Server,
    builder::{ORG, ORG_EUR, Row, TENANT, csv},
    calls::{Rpc, detailed_usage, reason, request},
    issuer::{Issuer, Signer},
    pki::{Authority, Files, client_params, common_name},
    program,
};

const RELOAD: Duration = Duration::from_millis(100);

fn tls(files: &Files) -> TlsConfig {
    TlsConfig { reload_interval: RELOAD, ..TlsConfig::new(&files.certificate, &files.key) }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

async fn connect(
    server: &Server,
    authority: &Authority,
    identity: Option<&Files>,
) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&authority.file())));
    if let Some(files) = identity {
        tls = tls.identity(Identity::from_pem(read(&files.certificate), read(&files.key)));
    }
    let url = format!("https://localhost:{}", server.address.port());
    Channel::from_shared(url).unwrap().tls_config(tls).unwrap().connect().await
}

/// A database with enough rows that a stream of them does not fit into buffers.
async fn large_month() -> Database {
    let database = Database::with_catalog().await;
    let rows: Vec<Row> = (0..20_000).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:06}"))).collect();
    database.import(&csv(&rows)).await;
    database
}

#[tokio::test]
async fn a_certificate_is_replaced_while_streams_run() {
    let database = large_month().await;
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let files = first.server("server", &["localhost"]);
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let token = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let server =
        Server::start(ServerConfig { tls: Some(tls(&files)), ..ServerConfig::new(database.config(), issuer.auth()) });

    let channel = connect(&server, &first, None).await.unwrap();
    let mut client = ReportsServiceClient::new(channel.clone());
    let mut stream = client.get_detailed_usage(request(detailed_usage(TENANT), &[&token])).await.unwrap().into_inner();
    let mut records = stream.message().await.unwrap().unwrap().records.len();
    assert!(connect(&server, &second, None).await.is_err(), "signed by another authority");

    // A certificate without its key makes no sense, and what was there stays.
    let replaced = second.server("server", &["localhost"]);
    std::fs::copy(&replaced.certificate, &files.certificate).unwrap();
    tokio::time::sleep(RELOAD * 4).await;
    assert!(connect(&server, &first, None).await.is_ok());
    std::fs::copy(&replaced.key, &files.key).unwrap();
    let mut tries = 0;
    while connect(&server, &second, None).await.is_err() {
        tries += 1;
        assert!(tries < 100, "the new certificate is never shown");
        tokio::time::sleep(RELOAD).await;
    }
    assert!(connect(&server, &first, None).await.is_err());

    let mut whole = false;
    while let Some(message) = stream.message().await.unwrap() {
        records += message.records.len();
        whole |= message.summary.is_some();
    }
    assert_eq!((records, whole), (20_000, true), "a stream goes on by the connection that it has");
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one server, many certificates")]
async fn a_client_certificate_stands_in_for_a_token() {
    let database = large_month().await;
    let authority = Authority::new("clients and servers");
    let stranger = Authority::new("somebody else");
    let files = authority.server("server", &["localhost"]);
    let callers = authority.path("callers.toml");
    let list = format!(
        r#"
        [[certificates]]
        uri = "spiffe://provider.example/billing"
        roles = ["Reports"]
        organizations = ["{ORG}"]
        [[certificates]]
        dns = "Meters.Provider.Example"
        roles = ["UsageImport"]
        organizations = ["*"]
        [[certificates]]
        subject = "CN=Audit\\, internal,OU=Finance,O=Provider"
        roles = ["Reports", "UsageImport"]
        organizations = ["{ORG_EUR}"]
        "#
    );
    std::fs::write(&callers, &list).unwrap();
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let certificates = Some(CertificateConfig { callers: callers.clone(), reload_interval: RELOAD });
    let config = ServerConfig {
        tls: Some(TlsConfig { client_authorities: Some(authority.file()), ..tls(&files) }),
        ..ServerConfig::new(database.config(), AuthConfig { certificates, ..issuer.auth() })
    };
    let server = Server::start(config);

    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let billing = authority.client("billing", common_name("x"), vec![uri("spiffe://provider.example/billing")]);
    let meters = authority.client(
        "meters",
        common_name("x"),
        vec![SanType::DnsName("meters.provider.example".try_into().unwrap())],
    );
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Provider");
    subject.push(DnType::OrganizationalUnitName, "Finance");
    subject.push(DnType::CommonName, "Audit, internal");
    let audit = authority.client("audit", subject, vec![]);
    let unknown = authority.client("unknown", common_name("billing"), vec![uri("spiffe://provider.example/billing/2")]);
    let expired = {
        let mut params = client_params(common_name("x"), vec![uri("spiffe://provider.example/billing")]);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        authority.sign("expired", params)
    };
    let forged = stranger.client("forged", common_name("x"), vec![uri("spiffe://provider.example/billing")]);

    let refused = |code, reason: &str| Err((code, reason.to_owned()));
    let ok = || Ok(());
    let no_role = || refused(Code::PermissionDenied, "ROLE_MISSING");
    for (name, identity, expected) in [
        ("billing", Some(&billing), [ok(), ok(), ok(), ok(), no_role(), no_role()]),
        ("meters", Some(&meters), [no_role(), no_role(), no_role(), no_role(), ok(), ok()]),
        (
            "audit",
            Some(&audit),
            [
                ok(),
                refused(Code::NotFound, "TENANT_NOT_FOUND"),
                refused(Code::NotFound, "ORGANIZATION_NOT_FOUND"),
                refused(Code::NotFound, "ORGANIZATION_NOT_FOUND"),
                ok(),
                refused(Code::NotFound, "TENANT_NOT_FOUND"),
            ],
        ),
        ("unknown", Some(&unknown), [(); 6].map(|()| refused(Code::Unauthenticated, "CERTIFICATE_UNKNOWN"))),
        ("none", None, [(); 6].map(|()| refused(Code::Unauthenticated, "TOKEN_MISSING"))),
    ] {
        let channel = connect(&server, &authority, identity).await.unwrap();
        assert_eq!(expected.len(), Rpc::all().len(), "{name}");
        for (rpc, expected) in Rpc::all().into_iter().zip(expected) {
            let answer = rpc.call(&channel, &[]).await.map_err(|status| reason(&status));
            assert_eq!(answer, expected, "{name}, {rpc:?}");
        }
    }
    // TLS 1.3 tells a client after its handshake that its certificate was refused: with the first call at the latest.
    for (name, identity) in [("expired", &expired), ("forged", &forged)] {
        let answer = match connect(&server, &authority, Some(identity)).await {
            Ok(channel) => Rpc::ListTenants.call(&channel, &[]).await.map_err(|status| reason(&status).1),
            Err(_) => Err(String::new()),
        };
        assert_eq!(answer, Err(String::new()), "{name}: no answer of the service");
    }
    // A token counts more than the certificate, also when it is a bad one.
    let channel = connect(&server, &authority, Some(&billing)).await.unwrap();
    let status = Rpc::ListTenants.call(&channel, &["Bearer garbage"]).await.unwrap_err();
    assert_eq!(reason(&status).1, "TOKEN_INVALID");
    let token = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    Rpc::ImportUsage.call(&channel, &[&token]).await.unwrap();

    // The list is read again; a change that makes no sense changes nothing.
    std::fs::write(&callers, "[[certificates]]\nroles = []").unwrap();
    tokio::time::sleep(RELOAD * 4).await;
    Rpc::ListTenants.call(&channel, &[]).await.unwrap();
    std::fs::write(&callers, list.replace("/billing\"", "/billing/2\"")).unwrap();
    let mut tries = 0;
    while Rpc::ListTenants.call(&channel, &[]).await.is_ok() {
        tries += 1;
        assert!(tries < 100, "the list is never read again");
        tokio::time::sleep(RELOAD).await;
    }
    let channel = connect(&server, &authority, Some(&unknown)).await.unwrap();
    Rpc::ListTenants.call(&channel, &[]).await.unwrap();
}

#[tokio::test]
async fn connections_without_a_certificate_are_refused_where_one_is_required() {
    let database = Database::with_catalog().await;
    let authority = Authority::new("all");
    let files = authority.server("server", &["localhost"]);
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let token = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let config = ServerConfig {
        tls: Some(TlsConfig {
            client_authorities: Some(authority.file()),
            require_client_certificate: true,
            ..tls(&files)
        }),
        ..ServerConfig::new(database.config(), issuer.auth())
    };
    let server = Server::start(config);
    let answer = match connect(&server, &authority, None).await {
        Ok(channel) => Rpc::ListTenants.call(&channel, &[&token]).await.is_ok(),
        Err(_) => false,
    };
    assert!(!answer);
    let identity = authority.client("client", common_name("mesh"), vec![]);
    let channel = connect(&server, &authority, Some(&identity)).await.unwrap();
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_never_ends_its_handshake_is_cut_off_and_holds_up_nobody() {
    let database = Database::with_catalog().await;
    let authority = Authority::new("all");
    let files = authority.server("server", &["localhost"]);
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let token = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let config = ServerConfig {
        tls: Some(tls(&files)),
        connections: ConnectionLimits { handshake: Duration::from_secs(2), ..ConnectionLimits::default() },
        ..ServerConfig::new(database.config(), issuer.auth())
    };
    let server = Server::start(config);
    // The first bytes of a ClientHello, and then nothing.
    let mut slow: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    slow.iter_mut().for_each(|peer| peer.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).unwrap());
    let channel = connect(&server, &authority, None).await.unwrap();
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
    assert!(slow.iter_mut().all(is_closed));
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
}

#[tokio::test]
async fn plain_text_leaves_the_machine_only_when_it_is_meant_to() {
    let database = Database::with_catalog().await;
    let issuer = Issuer::start(&[&Signer::new(Algorithm::EdDSA, "ed")]).await;
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let config = || ServerConfig { listen: everywhere, ..ServerConfig::new(database.config(), issuer.auth()) };
    let refusal = RunningServer::bind(config()).await.err().expect("a refusal");
    assert!(matches!(refusal, ServeError::PlaintextAddress(_)), "{refusal}");
    assert!(RunningServer::bind(ServerConfig { insecure_plaintext: true, ..config() }).await.is_ok());
    let files = Authority::new("ca").server("server", &["localhost"]);
    // The folder of the authority is gone with it.
    let refusal =
        RunningServer::bind(ServerConfig { tls: Some(tls(&files)), ..config() }).await.err().expect("a refusal");
    assert!(refusal.to_string().contains("server.pem"), "{refusal}");
    let authority = Authority::new("ca");
    let files = authority.server("server", &["localhost"]);
    assert!(RunningServer::bind(ServerConfig { tls: Some(tls(&files)), ..config() }).await.is_ok());

    // Without authentication nothing helps, and certificates that nobody verifies are none.
    let open = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let everyone = ServerConfig { auth: open, insecure_plaintext: true, ..config() };
    assert!(matches!(RunningServer::bind(everyone).await.err(), Some(ServeError::InsecureAddress(_))));
    let callers = authority.path("callers.toml");
    std::fs::write(&callers, "certificates = []").unwrap();
    let certificates = Some(CertificateConfig { callers, reload_interval: RELOAD });
    let unverified =
        ServerConfig { tls: Some(tls(&files)), auth: AuthConfig { certificates, ..AuthConfig::default() }, ..config() };
    assert!(matches!(RunningServer::bind(unverified).await.err(), Some(ServeError::UnverifiedCertificates)));
}

#[tokio::test]
async fn the_command_line_speaks_tls() {
    let database = Database::with_catalog().await;
    let authority = Authority::new("all");
    let files = authority.server("server", &["localhost"]);
    let callers = authority.path("callers.toml");
    std::fs::write(
        &callers,
        format!("[[certificates]]\nsubject = \"CN=mesh\"\nroles = [\"Reports\"]\norganizations = [\"{ORG}\"]"),
    )
    .unwrap();
    let config = ServerConfig {
        tls: Some(TlsConfig { client_authorities: Some(authority.file()), ..tls(&files) }),
        ..ServerConfig::new(
            database.config(),
            AuthConfig {
                certificates: Some(CertificateConfig { callers, reload_interval: RELOAD }),
                ..AuthConfig::default()
            },
        )
    };
    let server = Server::start(config);
    let url = format!("https://localhost:{}", server.address.port());
    let run = |command: &str, with: &[(&str, &Path)]| {
        let mut process = program();
        process.arg(command).env("SCR_SERVER", &url).envs(with.iter().copied());
        let output = process.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let identity = authority.client("client", common_name("mesh"), vec![]);
    let ca = authority.file();
    let trusted = [("SCR_CA_FILE", ca.as_path())];
    let known = [trusted[0], ("SCR_CLIENT_CERT", &identity.certificate), ("SCR_CLIENT_KEY", &identity.key)];
    let (ok, text, error) = run("tenants", &known);
    assert!(ok && text.contains("acme-hq"), "{text} {error}");
    assert_eq!(run("healthcheck", &trusted).1, "SERVING\n");
    let (ok, _, error) = run("healthcheck", &[]);
    assert!(!ok && error.contains("UnknownIssuer"), "{error}");
    let (ok, _, error) = run("tenants", &[("SCR_CA_FILE", Path::new("/nowhere/ca.pem"))]);
    assert!(!ok && error.contains("/nowhere/ca.pem"), "{error}");

    let plain = ClientConfig::new("http://192.0.2.1:1").with_token("secret-token");
    let error = Client::connect(&plain).await.err().unwrap();
    assert!(matches!(error, ClientError::PlaintextToken(_)) && !error.to_string().contains("secret-token"), "{error}");
}

/// Whether the other end closes the connection, within a time that is long for that.
fn is_closed(peer: &mut TcpStream) -> bool {
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ended = std::io::copy(peer, &mut std::io::sink());
    ended.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
}

#[tokio::test]
async fn whoever_connects_and_says_nothing_is_not_waited_for() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let token = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let config = ServerConfig {
        connections: ConnectionLimits { handshake: Duration::from_secs(1), max: 4, ..ConnectionLimits::default() },
        ..ServerConfig::new(database.config(), issuer.auth())
    };
    let server = Server::start(config);
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
    let mut silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    silent[0].write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    // All places are taken, so one more is turned away at once, and those that are there are served.
    let start = std::time::Instant::now();
    let turned_away = tokio::task::spawn_blocking({
        let address = server.address;
        move || is_closed(&mut TcpStream::connect(address).unwrap())
    });
    assert!(turned_away.await.unwrap());
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
    for mut peer in silent {
        assert!(tokio::task::spawn_blocking(move || is_closed(&mut peer)).await.unwrap());
    }
    // Their places are free again, and a connection that has begun may be silent as long as it likes.
    let another = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    Rpc::ListTenants.call(&another, &[&token]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    Rpc::ListTenants.call(&channel, &[&token]).await.unwrap();
}
