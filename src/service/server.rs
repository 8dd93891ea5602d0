//! The server, from its configuration to its listener.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{
    config::{ConnectionLimits, ServeError, ServerConfig},
    connection::MaxAge,
    file_descriptors::max_connections,
    limits::CallLimits,
    listener::Admission,
    rpc::{ImportBounds, ImportService},
    tls::TlsConfig,
};
use crate::{
    auth::Authenticator,
    database::DatabaseError,
    ingest::check_temporary_directory,
    reports::FocusProvider,
    statement::StatementKey,
    store::{Layout, SchemaError, Store, StoreConfig, StoreError, check_schema},
    telemetry::{lines::Lines, metrics::Metrics},
};

/// A server that is listening.
pub struct RunningServer {
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
    pub(super) admission: Admission,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) store: Store,
    pub(super) imports: ImportService,
    pub(super) statement_key: Option<Arc<StatementKey>>,
    pub(super) focus: FocusProvider,
    pub(super) metrics: Arc<Metrics>,
    pub(super) metrics_listener: Option<TcpListener>,
    pub(super) calls: CallLimits,
    pub(super) connections: ConnectionLimits,
    pub(super) reflection: bool,
    pub(super) stop_delay: Duration,
    pub(super) drain_limit: Duration,
    pub(super) audit: Option<Lines>,
}

// === impl RunningServer ===

impl RunningServer {
    /// Checks the configuration and the schema, and starts to listen.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        config.check()?;
        check_temporary_directory().map_err(ServeError::TemporaryDirectory)?;
        let no_auth = config.auth.insecure_no_auth;
        let authenticator = Arc::new(Authenticator::new(config.auth)?);
        let tls = config.tls.map(TlsConfig::load).transpose().map_err(ServeError::Tls)?;
        let store = Store::new(&config.store)?;
        unless_unavailable(check_schema(&store).await)?;
        let pools = store.clone();
        let metrics = Metrics::new(move || pools.pools());
        let (import_store, import_config) = import_store(&store, config.store, config.import_store).await?;
        let CallLimits { import_idle: idle, import_duration: duration, import, .. } = config.calls;
        let bounds = ImportBounds { idle, duration, import };
        let imports = ImportService::new(import_store, import_config, bounds, Arc::clone(&metrics));
        let (listener, address) = listen(config.listen).await?;
        let metrics_listener = listen_for_metrics(config.metrics_listen).await?;
        if no_auth {
            tracing::warn!(
                "NO AUTHENTICATION: every program on this machine may read and import the usage of every organization, and close its months"
            );
        }
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!("PLAIN TEXT on {address}: a proxy in front of the server must terminate TLS");
        }
        let admission = Admission {
            tls,
            max_connections: max_connections(config.connections.max),
            handshake_limit: config.connections.handshake,
            max_age: config.connections.age.map(|age| MaxAge { age, grace: config.connections.age_grace }),
            metrics: Arc::clone(&metrics),
        };
        Ok(Self {
            address,
            listener,
            admission,
            authenticator,
            store,
            imports,
            statement_key: config.statement_key,
            focus: config.focus,
            metrics,
            metrics_listener,
            calls: config.calls,
            connections: config.connections,
            reflection: config.reflection,
            stop_delay: config.stop_delay,
            drain_limit: config.drain_limit,
            audit: config.audit,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }
}

/// Where imports are written: to the reports' database, unless it has an account of its own for them.
async fn import_store(
    reports: &Store,
    reports_config: StoreConfig,
    config: Option<StoreConfig>,
) -> Result<(Store, StoreConfig), ServeError> {
    let Some(config) = config else { return Ok((reports.clone(), reports_config)) };
    let store = Store::new(&config).map_err(ServeError::ImportStore)?;
    unless_unavailable(check_schema(&store).await).map_err(|error| match error {
        SchemaError::Store(error) => ServeError::ImportStore(error),
        other => other.into(),
    })?;
    Ok((store, config))
}

async fn listen_for_metrics(address: Option<SocketAddr>) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let (listener, address) = listen(address).await?;
    tracing::info!("metrics on http://{address}/metrics");
    Ok(Some(listener))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let error = |error| ServeError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}

/// A database that is unavailable may come back; until then health says NOT_SERVING, and the log why. Other errors stay.
fn unless_unavailable(checked: Result<Layout, SchemaError>) -> Result<(), SchemaError> {
    match checked.map(drop) {
        Err(SchemaError::Store(StoreError::Database(DatabaseError::Unavailable(_)))) => Ok(()),
        checked => checked,
    }
}
