//! How to connect to a database: what libpq makes of a connection string, and limits that libpq does not have.

use std::{path::PathBuf, str::FromStr as _, sync::Once, time::Duration};

use tokio_postgres::{
    Client, Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    DatabaseError,
    connection_string::{NOT_A_URL, SslSettings, split},
    hosts::{Hosts, each_host, share},
    session,
    tls::{Roots, TlsSettings, Verification},
};
use crate::network::is_loopback;

/// How to connect to a database.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(super) config: Config,
    pub(super) hosts: Hosts,
    pub(super) tls: MakeRustlsConnect,
    /// How long a connection may take, to all of its hosts.
    limit: Duration,
}

// === impl ConnectOptions ===

impl ConnectOptions {
    /// Reads a connection string, and the files that it names. It may hold a password, so no error quotes it.
    pub(crate) fn parse(database_url: &str, connect_timeout: Duration) -> Result<Self, DatabaseError> {
        let unusable = |reason: String| DatabaseError::InvalidOptions(reason);
        let (rest, settings) = split(database_url).ok_or_else(|| unusable(NOT_A_URL.to_owned()))?;
        let mut config = Config::from_str(&rest).map_err(|_| unusable(settings.refusal()))?;
        // As libpq has it: nobody stands between the ends of a unix socket, so nothing of this matters there.
        let local = config.get_hostaddrs().is_empty()
            && !config.get_hosts().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let settings =
            if local { SslSettings { mode: Some("disable".to_owned()), ..Default::default() } } else { settings };
        let is_decided = settings.mode.is_some() || settings.root.as_deref() == Some("system");
        let (mode, tls) = resolve(settings, default_root()).map_err(unusable)?;
        // TLS is spoken to somebody: without a name, to the address.
        if config.get_hosts().is_empty() {
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        if let Some(host) = other_machine(&config).filter(|_| !is_decided) {
            // Commands read a connection string several times.
            UNDECIDED.call_once(|| {
                tracing::warn!(
                    "sslmode is not set for the database on {host}: whoever stands in between can read along, or keep the \
                     connection from being encrypted. Set sslmode=verify-full, or sslmode=prefer to leave it so"
                );
            });
        }
        config.ssl_mode(mode);
        config.application_name(env!("CARGO_PKG_NAME"));
        // One that is away must leave time for the others.
        let each = share(&config, connect_timeout);
        config.connect_timeout(config.get_connect_timeout().map_or(each, |given| *given.min(&each)));
        // A host that vanished is to be noticed before callers give up, also while its answer is waited for.
        if !database_url.contains("keepalives_idle") {
            config.keepalives_idle(Duration::from_secs(10));
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(5));
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(20));
        }
        let tls = tls.connector().map_err(unusable)?;
        let hosts = Hosts::new(&config, tls.clone(), connect_timeout);
        Ok(Self { config, hosts, tls, limit: connect_timeout })
    }

    /// How to connect to each of the hosts, with its name and port.
    pub(crate) fn each_host(&self) -> Vec<(String, u16, Self)> {
        let host = |(host, port, config): (String, u16, Config)| {
            let hosts = Hosts::new(&config, self.tls.clone(), self.limit);
            (host, port, Self { config, hosts, tls: self.tls.clone(), limit: self.limit })
        };
        each_host(&self.config).into_iter().map(host).collect()
    }

    /// A connection of its own, outside the pools. It closes when the client is dropped.
    pub(crate) async fn connect(&self) -> Result<Client, DatabaseError> {
        let connect = tokio::time::timeout(self.limit, self.hosts.connect());
        let late = |_| DatabaseError::Unavailable("no host answered in time".to_owned());
        let (client, connection) = connect.await.map_err(late)??;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a database connection ended");
            }
        });
        // A writer that was cut off must not hold its locks for ever.
        let unsuitable = session::prepare(&client, "SET idle_in_transaction_session_timeout = '10min';").await?;
        unsuitable.map_or(Ok(client), |reason| Err(DatabaseError::Unsuitable(reason)))
    }

    /// Makes sure that connections have sessions of their own, and that what one of them locks is locked for the others; returns
    /// two that have been compared.
    pub(crate) async fn suitable_sessions(&self) -> Result<(Client, Client), DatabaseError> {
        let (one, other) = (self.connect().await?, self.connect().await?);
        session::refuse_shared(&one, &other).await?;
        session::refuse_idle_locks(&one, &other).await?;
        Ok((one, other))
    }
}

/// A connection of its own, outside the pools. It closes when the client is dropped.
pub(crate) async fn connect(database_url: &str, connect_timeout: Duration) -> Result<Client, DatabaseError> {
    ConnectOptions::parse(database_url, connect_timeout)?.connect().await
}

/// Whether it was said that `sslmode` is not set.
static UNDECIDED: Once = Once::new();

/// The first host that is not this machine.
fn other_machine(config: &Config) -> Option<String> {
    let hosts =
        config.get_hosts().iter().enumerate().filter_map(|(n, host)| match (config.get_hostaddrs().get(n), host) {
            (Some(address), _) => Some(address.to_string()),
            (None, Host::Tcp(host)) => Some(host.clone()),
            (None, Host::Unix(_)) => None,
        });
    let mut hosts = hosts;
    hosts.find(|host| !is_loopback(Some(host)))
}

/// libpq's place for authorities, where no other is named.
fn default_root() -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    Some(PathBuf::from(home).join(".postgresql/root.crt")).filter(|path| path.exists())
}

/// What libpq makes of them.
fn resolve(settings: SslSettings, default_root: Option<PathBuf>) -> Result<(SslMode, TlsSettings), String> {
    let roots = match settings.root.as_deref() {
        None | Some("") => default_root.map(Roots::File),
        Some("system") => Some(Roots::System),
        Some(path) => Some(Roots::File(path.into())),
    };
    let system = roots == Some(Roots::System);
    let (mode, verification) = match settings.mode.as_deref() {
        None if system => (SslMode::Require, Verification::AuthorityAndHost),
        Some("verify-full") => (SslMode::Require, Verification::AuthorityAndHost),
        // Anyone can get a certificate of a public authority, so the name must be looked at.
        Some(mode) if system => {
            return Err(format!("sslrootcert=system goes with sslmode=verify-full only, and sslmode is {mode}"));
        }
        None | Some("prefer") => (SslMode::Prefer, Verification::Nothing),
        Some("disable") => (SslMode::Disable, Verification::Nothing),
        // For compatibility with its early versions, libpq verifies where it knows authorities.
        Some("require") if roots.is_some() => (SslMode::Require, Verification::Authority),
        Some("require") => (SslMode::Require, Verification::Nothing),
        Some("verify-ca") => (SslMode::Require, Verification::Authority),
        Some(other) => {
            return Err(format!(
                "sslmode={other} is not known; it is one of disable, prefer, require, verify-ca and verify-full"
            ));
        }
    };
    let identity = match (settings.certificate, settings.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        _ => return Err("sslcert and sslkey go together".to_owned()),
    };
    Ok((mode, TlsSettings { verification, roots, identity }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn ssl(mode: &str, root: &str) -> SslSettings {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        SslSettings { mode: some(mode), root: some(root), ..SslSettings::default() }
    }

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        let file = Some(PathBuf::from("/home/.postgresql/root.crt"));
        for (mode, root, default_root, expected) in [
            ("", "", None, (SslMode::Prefer, Verification::Nothing)),
            ("disable", "", None, (SslMode::Disable, Verification::Nothing)),
            ("prefer", "/ca", None, (SslMode::Prefer, Verification::Nothing)),
            ("require", "", None, (SslMode::Require, Verification::Nothing)),
            ("require", "/ca", None, (SslMode::Require, Verification::Authority)),
            ("require", "", file.clone(), (SslMode::Require, Verification::Authority)),
            ("verify-ca", "/ca", None, (SslMode::Require, Verification::Authority)),
            ("verify-full", "/ca", None, (SslMode::Require, Verification::AuthorityAndHost)),
            ("verify-full", "", file, (SslMode::Require, Verification::AuthorityAndHost)),
            ("verify-full", "system", None, (SslMode::Require, Verification::AuthorityAndHost)),
            ("", "system", None, (SslMode::Require, Verification::AuthorityAndHost)),
        ] {
            let (ssl_mode, tls) = resolve(ssl(mode, root), default_root).unwrap();
            assert_eq!((ssl_mode, tls.verification), expected, "{mode} {root}");
        }
        for (mode, root) in [("allow", ""), ("verify", ""), ("require", "system"), ("verify-ca", "system")] {
            assert!(resolve(ssl(mode, root), None).is_err(), "{mode} {root}");
        }
        let half = SslSettings { certificate: Some("/c".to_owned()), ..SslSettings::default() };
        assert!(resolve(half, None).is_err_and(|error| error.contains("go together")));
    }

    #[test]
    fn what_tls_needs_and_what_is_not_supported_is_told() {
        let parse =
            |text: &str| ConnectOptions::parse(text, Duration::from_secs(1)).map(|target| target.config.get_ssl_mode());
        for text in ["host=/tmp sslmode=verify-full", "host=/tmp sslmode=require"] {
            assert_eq!(parse(text).ok(), Some(SslMode::Disable), "{text}");
        }
        for text in [
            "hostaddr=127.0.0.1 sslmode=require",
            "postgres:///d?hostaddr=127.0.0.1&sslmode=require",
            "host=a hostaddr=127.0.0.1 sslmode=require",
            "host=/tmp hostaddr=127.0.0.1 sslmode=require",
        ] {
            assert_eq!(parse(text).ok(), Some(SslMode::Require), "{text}");
        }
        for (text, told) in [
            ("host=a sslcrl=/x gssencmode=disable", "not supported here: sslcrl, gssencmode"),
            ("host=a port=x", "not a PostgreSQL connection URL"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn another_machine_is_one_that_is_not_loopback() {
        for (text, expected) in [
            ("host=/tmp", None),
            ("host=localhost", None),
            ("host=127.0.0.1,::1", None),
            ("host=localhost,db.example", Some("db.example")),
            ("host=db.example", Some("db.example")),
            ("host=localhost hostaddr=10.0.0.1", Some("10.0.0.1")),
            ("host=db.example hostaddr=127.0.0.1", None),
        ] {
            assert_eq!(other_machine(&Config::from_str(text).unwrap()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn no_error_quotes_the_password() {
        for url in
            ["postgres://joe:hunter2@h:x/d", "password=hunter2 host", "postgres://joe:hunter2@h/d?sslmode=hunter3"]
        {
            let Err(error) = ConnectOptions::parse(url, Duration::from_secs(1)) else { panic!("{url}") };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
