//! TLS to PostgreSQL: `sslmode` means what it means to libpq.

use std::{net::TcpListener, path::Path};

use secure_connect_reports::{
    postgres::EphemeralServer,
    store::{Store, StoreConfig, StoreError},
};

use crate::support::pki::{Authority, common_name};

/// Everyone by TCP must use TLS, and the account `certified` must have a certificate besides.
const RULES: &str = "local all all trust\nhostssl all certified 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 trust\n\
    hostnossl all plain 127.0.0.1/32 trust\n";

async fn ping(url: &str) -> Result<(), StoreError> {
    Store::new(&StoreConfig::new(url))?.ping().await
}

#[tokio::test]
async fn sslmode_means_what_it_means_to_libpq() {
    let authority = Authority::new("database");
    let other = Authority::new("other");
    // For the name only, not for the address.
    let files = authority.server("server", &["localhost"]);
    let read = |path: &Path| std::fs::read(path).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let settings = [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("ssl", "on"),
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
        ("ssl_ca_file", "ca.crt"),
    ];
    let (certificate, key, ca) = (read(&files.certificate), read(&files.key), read(&authority.file()));
    let contents: [(&str, &[u8]); 4] =
        [("server.crt", &certificate), ("server.key", &key), ("ca.crt", &ca), ("pg_hba.conf", RULES.as_bytes())];
    let server = EphemeralServer::start_with(&settings, &contents).expect("a server that speaks TLS");
    let socket = format!("{} port={port}", server.database_url("postgres"));
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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let settings = [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("ssl", "on"),
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
    ];
    let (certificate, key) = (read(&files.certificate), read(&files.key));
    let rules: &[u8] = b"local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
    let contents: [(&str, &[u8]); 3] = [("server.crt", &certificate), ("server.key", &key), ("pg_hba.conf", rules)];
    let server = EphemeralServer::start_with(&settings, &contents).unwrap();
    let socket = format!("{} port={port}", server.database_url("postgres"));
    let (observer, connection) = tokio_postgres::connect(&socket, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    secure_connect_reports::store::migrate(&socket).await.unwrap();
    // A publisher holds the lock that the reader waits for.
    observer.batch_execute("SELECT pg_advisory_lock(x'0053435200000001'::bigint)").await.unwrap();
    let url = format!(
        "postgres://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={}",
        authority.file().display()
    );
    let store = Store::new(&StoreConfig::new(url)).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '-- horizon_as_of%' AND state = 'active'";
    let count = || async { observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) };
    let abandoned = tokio::spawn({
        let store = store.clone();
        async move { store.horizon_as_of("2100-01-01T00:00:00Z".parse().unwrap()).await }
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
