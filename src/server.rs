//! The gRPC server: what listens, what is registered, how it starts and stops.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, sync::oneshot};
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::server::HealthReporter;

use crate::{
    auth::Principal,
    grpc::{ImportService, Reports},
    proto::{
        DESCRIPTORS, reports_service_server::ReportsServiceServer,
        usage_import_service_server::UsageImportServiceServer,
    },
    store::{SchemaError, Store, StoreConfig, StoreError, check_schema},
};

/// How often the database is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const MAX_STREAMS_PER_CONNECTION: u32 = 200;
const MAX_LOCAL_RESETS: usize = 100;

/// How to serve.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The database.
    pub store: StoreConfig,
    /// Everyone who reaches the server may see and do everything. Only for loopback.
    pub insecure_no_auth: bool,
    /// How long calls that are running may go on after a signal to stop.
    pub drain_limit: Duration,
}

/// The server could not start, or it failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody would be asked who they are.
    #[error(
        "there is no authentication: start with --insecure-no-auth to serve everyone on this machine (loopback addresses \
         only)"
    )]
    NoAuthentication,
    /// Everyone who reaches the address would see everything.
    #[error("--insecure-no-auth serves loopback addresses only, and {0} is none: listen on 127.0.0.1 or [::1]")]
    InsecureAddress(SocketAddr),
    /// The database's schema is not this program's, or the database failed.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    config: ServerConfig,
    store: Store,
}

/// Puts the caller into a request. Without authentication every caller is the same.
#[derive(Clone)]
struct Authenticate;

impl tonic::service::Interceptor for Authenticate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.extensions_mut().insert(Principal::insecure_local());
        Ok(request)
    }
}

// === impl RunningServer ===

impl RunningServer {
    /// Checks the configuration and the schema, and starts to listen.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        if !config.insecure_no_auth {
            return Err(ServeError::NoAuthentication);
        }
        if !config.listen.ip().is_loopback() {
            return Err(ServeError::InsecureAddress(config.listen));
        }
        let store = Store::new(&config.store)?;
        check_schema(&store).await?;
        let listen_error = |error| ServeError::Listen { address: config.listen, error };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        tracing::warn!(
            "NO AUTHENTICATION: every program on this machine may read and import the usage of every organization"
        );
        Ok(Self { address, listener, config, store })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready, then drains: health says NOT_SERVING, new calls are refused, and running ones may
    /// go on for a while.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let (health_reporter, health) = tonic_health::server::health_reporter();
        // The library begins with SERVING; here that is said after the first ping.
        set_health(&health_reporter, false).await;
        let monitor = tokio::spawn(monitor(self.store.clone(), health_reporter.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                // For clients that show the details of errors.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        let router = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(InterceptedService::new(
                ReportsServiceServer::new(Reports::new(self.store.clone())),
                Authenticate,
            ))
            .add_service(InterceptedService::new(
                UsageImportServiceServer::new(ImportService::new(self.store, self.config.store)),
                Authenticate,
            ));
        let drain_limit = self.config.drain_limit;
        let (drain, draining) = oneshot::channel::<()>();
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let server = router.serve_with_incoming_shutdown(incoming, async {
            let _ = draining.await;
        });
        let mut server = std::pin::pin!(server);
        tokio::select! {
            result = &mut server => return Ok(result?),
            () = stop => {}
        }
        tracing::info!("stopping: running calls may go on for {} s", drain_limit.as_secs());
        monitor.abort();
        set_health(&health_reporter, false).await;
        let _ = drain.send(());
        match tokio::time::timeout(drain_limit, server).await {
            Ok(result) => result?,
            // A watcher of the health service, for one, never ends by itself.
            Err(_) => tracing::warn!("calls that were still running were cut off"),
        }
        Ok(())
    }
}

/// Keeps the health service true.
async fn monitor(store: Store, reporter: HealthReporter) {
    let mut serving = None;
    loop {
        let alive = match store.ping().await {
            Ok(()) => true,
            Err(error) => {
                if serving != Some(false) {
                    tracing::warn!(%error, "not serving");
                }
                false
            }
        };
        if serving != Some(alive) {
            set_health(&reporter, alive).await;
            if alive {
                tracing::info!("serving");
            }
            serving = Some(alive);
        }
        tokio::time::sleep(PING_INTERVAL).await;
    }
}

async fn set_health(reporter: &HealthReporter, serving: bool) {
    let status = if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
    for service in ["", "secureconnect.reports.v1.ReportsService", "secureconnect.reports.v1.UsageImportService"] {
        reporter.set_service_status(service, status).await;
    }
}
