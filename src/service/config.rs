//! The configuration of a server, and its checks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{limits::CallLimits, tls::TlsConfig};
use crate::{
    auth::{AuthConfig, AuthConfigError},
    reports::FocusProvider,
    statement::StatementKey,
    store::{SchemaError, StoreConfig, StoreError},
    telemetry::lines::Lines,
};

#[derive(Clone)]
pub struct ServerConfig {
    /// Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The database, with an account that need not write.
    pub store: StoreConfig,
    /// The database, with an account that may import; `None`: the same as `store`.
    pub import_store: Option<StoreConfig>,
    pub auth: AuthConfig,
    /// Signs statements; `None`: they are not signed.
    pub statement_key: Option<Arc<StatementKey>>,
    /// What stands in each row of FOCUS.
    pub focus: FocusProvider,
    /// `None`: plain text, on loopback only.
    pub tls: Option<TlsConfig>,
    /// Allows plain text on any address: a proxy terminates TLS.
    pub insecure_plaintext: bool,
    /// Whether to serve gRPC reflection.
    pub reflection: bool,
    /// Where to serve metrics by HTTP; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    pub calls: CallLimits,
    pub connections: ConnectionLimits,
    /// How long to go on serving after a signal to stop, while health says NOT_SERVING: load balancers need a moment to notice.
    pub stop_delay: Duration,
    /// How long running calls may go on after that.
    pub drain_limit: Duration,
    /// An audit log in which each call reserves room; without room, it is refused. `None`: lines are dropped instead.
    pub audit: Option<Lines>,
}

/// Limits on connections of callers.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Open at once; more are closed.
    pub max: usize,
    /// How long TLS, and then the start of HTTP/2, may take.
    pub handshake: Duration,
    /// The interval of pings. A connection that does not answer one for as long is closed.
    pub keepalive: Duration,
    /// At this age the client is asked to open another one. Running calls go on; a connection without any is closed. `None`:
    /// no limit.
    pub age: Option<Duration>,
    /// How long running calls may go on after that. The connection is then closed.
    pub age_grace: Duration,
    /// Calls at once, on one connection.
    pub calls: u32,
    /// Of one call.
    pub header_bytes: u32,
    /// What a client may send before the server has read it.
    pub window_bytes: u32,
    /// Calls that a client may reset before the server has begun them; beyond, the connection is closed.
    pub resets: usize,
}

/// The server did not start, or it failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// Everyone who can reach the address could see everything.
    #[error("--insecure-no-auth serves loopback addresses only, and {0} is not one: listen on 127.0.0.1 or [::1]")]
    InsecureAddress(SocketAddr),
    /// Tokens and reports could be read on their way.
    #[error(
        "plain text is for loopback addresses only, and {0} is not one: give --tls-cert and --tls-key, or \
         --insecure-plaintext where a proxy in front of the server terminates TLS"
    )]
    PlaintextAddress(SocketAddr),
    /// Client certificates are configured, and nothing could verify them.
    #[error(
        "--client-certificates needs the authority that signs them (--tls-client-ca), and TLS (--tls-cert and --tls-key)"
    )]
    UnverifiedCertificates,
    /// A certificate or key cannot be used.
    #[error("{0}")]
    Tls(String),
    /// Imports sort in temporary files.
    #[error("imports would fail: {0}")]
    TemporaryDirectory(std::io::Error),
    /// The database does not have this program's schema, or it failed.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("--import-database-url: {0}")]
    ImportStore(StoreError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

// === impl ServerConfig ===

impl ServerConfig {
    /// Serves the reports of a database on a free port of loopback, in plain text.
    pub fn new(store: StoreConfig, auth: AuthConfig) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            store,
            import_store: None,
            auth,
            statement_key: None,
            focus: FocusProvider::default(),
            tls: None,
            insecure_plaintext: false,
            reflection: true,
            metrics_listen: None,
            calls: CallLimits::default(),
            connections: ConnectionLimits::default(),
            stop_delay: Duration::ZERO,
            drain_limit: Duration::from_secs(10),
            audit: None,
        }
    }

    /// Checks what needs neither files nor the database: callers must be authenticated, and reports must not leave the machine
    /// in plain text, unless the configuration says so on purpose.
    pub fn check(&self) -> Result<(), ServeError> {
        self.auth.check()?;
        if !self.listen.ip().is_loopback() {
            if self.auth.insecure_no_auth {
                return Err(ServeError::InsecureAddress(self.listen));
            }
            if self.tls.is_none() && !self.insecure_plaintext {
                return Err(ServeError::PlaintextAddress(self.listen));
            }
        }
        let verified = self.tls.as_ref().is_some_and(|tls| tls.client_authorities.is_some());
        if self.auth.certificates.is_some() && !verified {
            return Err(ServeError::UnverifiedCertificates);
        }
        Ok(())
    }
}

// === impl ConnectionLimits ===

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: 1000,
            handshake: Duration::from_secs(10),
            keepalive: Duration::from_secs(30),
            age: Some(Duration::from_secs(1800)),
            age_grace: Duration::from_secs(3600),
            calls: 100,
            // Room for the longest token that is accepted, and for other headers.
            header_bytes: 64 << 10,
            window_bytes: 64 << 10,
            resets: 100,
        }
    }
}
