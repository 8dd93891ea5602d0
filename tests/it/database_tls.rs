//! TLS to PostgreSQL: `sslmode` means what it means to libpq.

use std::path::Path;

use secure_connect_reports::{
    embedded::{EphemeralServer, ServerError},
    store::{Store, StoreConfig, StoreError},
};

use crate::support::pki::{Authority, common_name};

/// Everyone by TCP must use TLS, and the account `certified` must have a certificate besides.
const RULES: &str = "local all all trust\nhostssl all certified 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 trust\n\
    hostnossl all plain 127.0.0.1/32 trust\n";

async fn ping(url: &str) -> Result<(), StoreError> {
    Store::new(&StoreConfig::new(url))?.is_standby().await.map(drop)
}

/// A server that speaks TLS on a port of its own, with these files and rules. Returns the connection string of its socket.
fn start(certificate: &[u8], key: &[u8], authorities: &[u8], rules: &str) -> (EphemeralServer, String, String) {
    // PostgreSQL takes no port that is free by itself, so one that is taken is tried and left.
    let mut tries = 0;
    loop {
        let port = fastrand::u16(20_000..32_000).to_string();
        match start_on(&port, certificate, key, authorities, rules) {
            Ok(server) => {
                let socket = format!("{} port={port}", server.database_url("postgres"));
                return (server, socket, port);
            }
            Err(error) => {
                tries += 1;
                assert!(tries < 10, "{error}");
            }
        }
    }
}

fn start_on(
    port: &str,
    certificate: &[u8],
    key: &[u8],
    authorities: &[u8],
    rules: &str,
) -> Result<EphemeralServer, ServerError> {
    let settings = [
        ("listen_addresses", "127.0.0.1"),
        ("port", port),
        ("ssl", "on"),
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
        ("ssl_ca_file", "ca.crt"),
    ];
    let files: [(&str, &[u8]); 4] =
        [("server.crt", certificate), ("server.key", key), ("ca.crt", authorities), ("pg_hba.conf", rules.as_bytes())];
    EphemeralServer::start_with(&settings, &files)
}

#[tokio::test]
async fn sslmode_means_what_it_means_to_libpq() {
    let authority = Authority::new("database");
    let other = Authority::new("other");
    // For the name only, not for the address.
    let files = authority.server("server", &["localhost"]);
    let read = |path: &Path| std::fs::read(path).unwrap();
    let (_server, socket, port) = start(&read(&files.certificate), &read(&files.key), &read(&authority.file()), RULES);
    ping(&socket).await.expect("no TLS by a unix socket, whatever the mode");
    ping(&format!("{socket} sslmode=verify-full")).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&socket, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE ROLE certified LOGIN; CREATE ROLE plain LOGIN").await.unwrap();

    let url = |host: &str, query: &str| format!("postgres://postgres@{host}:{port}/postgres?{query}");
    let (ca, wrong) = (authority.file().display().to_string(), other.file().display().to_string());
    for (host, query, fine) in [
        ("127.0.0.1", String::new(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={wrong}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={wrong}"), false),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=system".to_owned(), false),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), false),
        ("localhost", format!("sslmode=verify-full&sslrootcert={wrong}"), false),
    ] {
        let answer = ping(&url(host, &query)).await;
        assert_eq!(answer.is_ok(), fine, "{host} {query}: {answer:?}");
    }
    let pairs = format!("host=localhost port={port} user=postgres sslmode=verify-full sslrootcert='{ca}'");
    ping(&pairs).await.unwrap();

    // A server that offers TLS and does not insist is spoken to in plain text where that is asked for.
    ping(&format!("postgres://plain@127.0.0.1:{port}/postgres?sslmode=disable")).await.unwrap();

    let identity = authority.client("certified", common_name("certified"), vec![]);
    let certified = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.display(), key.display());
        format!(
            "host=localhost port={port} user=certified dbname=postgres sslmode=verify-full sslrootcert='{ca}' sslcert='{certificate}' sslkey='{key}'"
        )
    };
    ping(&certified(&identity.certificate, &identity.key)).await.unwrap();
    let without =
        format!("host=localhost port={port} user=certified dbname=postgres sslmode=verify-full sslrootcert='{ca}'");
    assert!(ping(&without).await.is_err());
    let error = ping(&certified(&identity.certificate, Path::new("/nowhere/client.key"))).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/client.key"), "{error}");
    let error = ping(&url("localhost", "sslmode=allow")).await.unwrap_err();
    assert!(error.to_string().contains("verify-full"), "{error}");
}

#[tokio::test]
async fn a_statement_is_cancelled_by_tls_too() {
    let authority = Authority::new("database");
    let files = authority.server("server", &["localhost"]);
    let read = |path: &Path| std::fs::read(path).unwrap();
    let (_server, socket, port) = start(&read(&files.certificate), &read(&files.key), &read(&authority.file()), RULES);
    let (observer, connection) = tokio_postgres::connect(&socket, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    secure_connect_reports::store::migrate(&socket).await.unwrap();
    // Within a transaction, activity would always be what it was at first.
    let (holder, connection) = tokio_postgres::connect(&socket, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE publication_clock IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let url = format!(
        "postgres://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={}",
        authority.file().display()
    );
    let store = Store::new(&StoreConfig::new(url)).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '-- clocks%' AND state = 'active'";
    let count = || async { observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) };
    let abandoned = tokio::spawn({
        let store = store.clone();
        async move { store.snapshot_as_of("2100-01-01T00:00:00Z".parse().unwrap()).await }
    });
    while count().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    abandoned.abort();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while count().await > 0 {
        assert!(std::time::Instant::now() < deadline, "the statement goes on");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// As PostgreSQL's manual makes one for a start.
#[tokio::test]
async fn a_certificate_that_has_signed_itself_is_its_own_authority() {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let (_server, _, port) =
        start(certificate.as_bytes(), key.serialize_pem().as_bytes(), certificate.as_bytes(), RULES);
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), &certificate).unwrap();
    let other = Authority::new("other");
    let url = |host: &str, mode: &str, root: &Path| {
        format!("postgres://postgres@{host}:{port}/postgres?sslmode={mode}&sslrootcert={}", root.display())
    };
    for (host, mode, root, fine) in [
        ("127.0.0.1", "require", root.path(), true),
        ("127.0.0.1", "verify-ca", root.path(), true),
        ("localhost", "verify-full", root.path(), true),
        ("127.0.0.1", "verify-full", root.path(), false),
        ("localhost", "verify-ca", &other.file(), false),
    ] {
        let answer = ping(&url(host, mode, root)).await;
        assert_eq!(answer.is_ok(), fine, "{host} {mode}: {answer:?}");
    }
    // Without host it is the address that the certificate must be for, and this one is not.
    let root = root.path().display();
    let url = format!("hostaddr=127.0.0.1 port={port} user=postgres sslmode=verify-full sslrootcert={root}");
    assert!(ping(&url).await.is_err());
    ping(&url.replace("verify-full", "verify-ca")).await.unwrap();
    ping(&format!("hostaddr=127.0.0.1 port={port} user=postgres")).await.unwrap();
}
