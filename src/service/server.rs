//! The gRPC server: what listens, what is registered, how it starts and stops.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::{
    file_descriptors::max_connections,
    health,
    layers::{CallLimits, Gate, Guard, OpenCalls},
    listener::{self, Admission},
    metrics_endpoint::MetricsServer,
    rpc::{ImportService, Reports, ReportsServer},
    tls::TlsConfig,
};
use crate::{
    auth::{AuthConfig, AuthConfigError, Authenticator},
    contract::proto::{DESCRIPTORS, usage_import_service_server::UsageImportServiceServer},
    database::DatabaseError,
    store::{SchemaError, Store, StoreConfig, StoreError, check_schema},
    telemetry::metrics::Metrics,
};

/// Streams of a connection, over all of its life, that the server had to reset for a fault of its peer.
const MAX_LOCAL_RESETS: usize = 1024;
/// How long the end of calls that are cut off may take.
const CUT_OFF_LIMIT: Duration = Duration::from_millis(500);

/// How to serve.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The database, by an account that need not write.
    pub store: StoreConfig,
    /// The database, by an account that may import; `None`: the same one.
    pub import_store: Option<StoreConfig>,
    /// How callers prove who they are.
    pub auth: AuthConfig,
    /// TLS; `None`: plain text, on loopback only.
    pub tls: Option<TlsConfig>,
    /// Plain text on any address: something in front of the server speaks TLS for it.
    pub insecure_plaintext: bool,
    /// Whether callers may ask which services and messages there are.
    pub reflection: bool,
    /// Where metrics are to be had by HTTP; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Limits on calls.
    pub calls: CallLimits,
    /// Limits on connections.
    pub connections: ConnectionLimits,
    /// How long to serve as before after a signal to stop, while health says NOT_SERVING: what sends callers here needs a
    /// moment to notice.
    pub stop_delay: Duration,
    /// How long calls that are running may go on after that.
    pub drain_limit: Duration,
}

/// Limits on connections of callers.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// At once; more are turned away.
    pub max: usize,
    /// How long a new one may take to the beginning of HTTP/2.
    pub handshake: Duration,
    /// How often its other end is asked for a sign of life; as long again without an answer, and it is closed.
    pub keepalive: Duration,
    /// How old it may become: then its other end is asked to make another one. Calls that are running go on; one that has
    /// none is closed. `None`: as old as it likes.
    pub age: Option<Duration>,
    /// Calls at once on one connection.
    pub calls: u32,
    /// Bytes of a call's headers.
    pub header_bytes: u32,
    /// Calls that a peer may give up before the server has got to them; beyond, the connection is closed.
    pub resets: usize,
}

/// The server could not start, or it failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Callers cannot be authenticated.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// Everyone who reaches the address would see everything.
    #[error("--insecure-no-auth serves loopback addresses only, and {0} is none: listen on 127.0.0.1 or [::1]")]
    InsecureAddress(SocketAddr),
    /// Tokens and reports could be read on their way.
    #[error(
        "plain text is for loopback addresses only, and {0} is none: give --tls-cert and --tls-key, or \
         --insecure-plaintext where something in front of the server speaks TLS for it"
    )]
    PlaintextAddress(SocketAddr),
    /// Client certificates are configured, and nothing can verify them.
    #[error(
        "client certificates are only known by TLS and their authority: --client-certificates needs --tls-client-ca, \
         which needs --tls-cert and --tls-key"
    )]
    UnverifiedCertificates,
    /// A certificate or key makes no sense.
    #[error("{0}")]
    Tls(String),
    /// The database's schema is not this program's, or the database failed.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database for imports failed.
    #[error("--import-database-url: {0}")]
    ImportStore(StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection could not be set up.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A server that is listening.
pub struct RunningServer {
    address: SocketAddr,
    listener: TcpListener,
    admission: Admission,
    authenticator: Arc<Authenticator>,
    store: Store,
    imports: ImportService,
    metrics: Arc<Metrics>,
    metrics_listener: Option<TcpListener>,
    calls: CallLimits,
    connections: ConnectionLimits,
    reflection: bool,
    stop_delay: Duration,
    drain_limit: Duration,
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
            tls: None,
            insecure_plaintext: false,
            reflection: true,
            metrics_listen: None,
            calls: CallLimits::default(),
            connections: ConnectionLimits::default(),
            stop_delay: Duration::ZERO,
            drain_limit: Duration::from_secs(10),
        }
    }

    /// Whether it makes sense, as far as that can be told without files and the database: who may call must be known,
    /// and what goes out to others must be meant to.
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
            calls: 200,
            // Room for a token of the largest size that is looked at, and for what else callers send.
            header_bytes: 64 << 10,
            resets: 100,
        }
    }
}

// === impl RunningServer ===

impl RunningServer {
    /// Checks the configuration and the schema, and starts to listen.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        config.check()?;
        let calls = config.calls;
        let no_auth = config.auth.insecure_no_auth;
        let authenticator = Arc::new(Authenticator::new(config.auth)?);
        let tls = config.tls.map(TlsConfig::load).transpose().map_err(ServeError::Tls)?;
        let store = Store::new(&config.store)?;
        unless_away(check_schema(&store).await)?;
        let pools = store.clone();
        let metrics = Metrics::new(move || pools.pools());
        let imports =
            |store, config: StoreConfig| ImportService::new(store, config, calls.import_idle, Arc::clone(&metrics));
        let imports = match config.import_store {
            None => imports(store.clone(), config.store),
            Some(import_store) => {
                let store = Store::new(&import_store).map_err(ServeError::ImportStore)?;
                unless_away(check_schema(&store).await).map_err(|error| match error {
                    SchemaError::Store(error) => ServeError::ImportStore(error),
                    other => other.into(),
                })?;
                imports(store, import_store)
            }
        };
        let (listener, address) = listen(config.listen).await?;
        let metrics_listener = match config.metrics_listen {
            None => None,
            Some(address) => {
                let (listener, address) = listen(address).await?;
                tracing::info!("metrics on http://{address}/metrics");
                Some(listener)
            }
        };
        if no_auth {
            tracing::warn!(
                "NO AUTHENTICATION: every program on this machine may read and import the usage of every organization"
            );
        }
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!("PLAIN TEXT on {address}: something in front of the server must speak TLS for it");
        }
        let admission = Admission {
            tls,
            max_connections: max_connections(config.connections.max),
            handshake_limit: config.connections.handshake,
            metrics: Arc::clone(&metrics),
        };
        Ok(Self {
            address,
            listener,
            admission,
            authenticator,
            store,
            imports,
            metrics,
            metrics_listener,
            calls,
            connections: config.connections,
            reflection: config.reflection,
            stop_delay: config.stop_delay,
            drain_limit: config.drain_limit,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `stop` is ready, then drains: health says NOT_SERVING, new calls are refused, and running ones may
    /// go on for a while.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let (health_reporter, health_service) = tonic_health::server::health_reporter();
        // The library begins with SERVING; here that is said after the first look.
        health::set(&health_reporter, false).await;
        let (metrics, told) = (Arc::clone(&self.metrics), Arc::clone(&self.metrics));
        let monitor = tokio::spawn(health::monitor(self.store.clone(), health_reporter.clone(), metrics));
        let _metrics_server =
            self.metrics_listener.map(|listener| MetricsServer::start(listener, Arc::clone(&self.metrics)));
        let reports = Reports::new(self.store, Arc::clone(&self.metrics));
        let reports = ReportsServer::new(reports, self.calls.request_bytes);
        let imports = UsageImportServiceServer::new(self.imports).max_decoding_message_size(self.calls.request_bytes);
        let (calls, cut_off) = (Arc::new(OpenCalls::new(self.metrics)), CancellationToken::new());
        let gate = Gate::new(self.authenticator, Arc::clone(&calls), &self.calls, cut_off.clone());
        let limits = self.connections;
        let mut builder = Server::builder();
        if let Some(age) = limits.age {
            // With a grace of its own, the transport would not ask.
            builder = builder.max_connection_age(age);
        }
        let mut router = builder
            .http2_keepalive_interval(Some(limits.keepalive))
            .http2_keepalive_timeout(Some(limits.keepalive))
            .http2_max_header_list_size(limits.header_bytes)
            .max_concurrent_streams(limits.calls)
            .http2_max_pending_accept_reset_streams(Some(limits.resets))
            .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
            .add_service(health_service)
            .add_service(Guard::new(reports, gate.clone()))
            .add_service(Guard::new(imports, gate));
        if self.reflection {
            router = router.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
        }
        let drain_limit = self.drain_limit;
        let (drain, draining) = oneshot::channel::<()>();
        let (acceptor, connections) = listener::accept(self.listener, self.admission);
        let server = router.serve_with_incoming_shutdown(connections, async {
            let _ = draining.await;
        });
        let mut server = std::pin::pin!(server);
        tokio::select! {
            result = &mut server => return Ok(result?),
            () = stop => {}
        }
        monitor.abort();
        health::set(&health_reporter, false).await;
        told.set_serving(false);
        if !self.stop_delay.is_zero() {
            tracing::info!("stopping in {} s: health says NOT_SERVING", self.stop_delay.as_secs());
            tokio::select! {
                result = &mut server => return Ok(result?),
                () = tokio::time::sleep(self.stop_delay) => {}
            }
        }
        tracing::info!("stopping: running calls may go on for {} s", drain_limit.as_secs());
        drop(acceptor);
        let _ = drain.send(());
        if let Ok(result) = tokio::time::timeout(drain_limit, &mut server).await {
            return Ok(result?);
        }
        tracing::warn!("calls that are still running are cut off");
        cut_off.cancel();
        // They get their answer, and their line in the audit log. A watcher of the health service never ends by itself.
        let end = tokio::time::timeout(CUT_OFF_LIMIT, server).await;
        calls.give_up();
        end.map_or(Ok(()), |result| Ok(result?))
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let error = |error| ServeError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}

/// A database that is away may come; health says NOT_SERVING and why until then. What is wrong for good is an error.
fn unless_away(checked: Result<(), SchemaError>) -> Result<(), SchemaError> {
    match checked {
        Err(SchemaError::Store(StoreError::Database(DatabaseError::Unavailable(_)))) => Ok(()),
        checked => checked,
    }
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // For clients that show the details of errors.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
