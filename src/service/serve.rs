//! The server while it runs: what it serves, and how it stops.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use arrow_flight::flight_service_server::FlightServiceServer;
use http::Request;
use tokio::sync::oneshot;
use tonic::{body::Body, service::Routes, transport::Server};
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
    util::MapRequestLayer,
};

use super::{
    config::{ConnectionLimits, ServeError},
    health,
    layers::{Ends, Layers, OpenCalls, note_arrival},
    listener::{self, Acceptor},
    metrics_endpoint::MetricsServer,
    rpc::{Billing, Columns, Reports, ReportsServer},
    server::RunningServer,
    unknown_service::UnknownService,
};
use crate::contract::proto::{
    DESCRIPTORS, billing_service_server::BillingServiceServer, usage_import_service_server::UsageImportServiceServer,
};

/// Of a request: the name of a service.
const MAX_HEALTH_BYTES: usize = 1 << 10;
/// Of a request: the name of a file, a service or a type.
const MAX_REFLECTION_BYTES: usize = 4 << 10;
/// Streams of a connection, over all of its life, that the server had to reset for a fault of its peer.
const MAX_LOCAL_RESETS: usize = 1024;
/// How long the end of calls that are cut off may take.
const CUT_OFF_LIMIT: Duration = Duration::from_millis(500);

/// What a server needs to stop.
struct Stop {
    acceptor: Acceptor,
    /// Tells the transport to drain.
    drain: oneshot::Sender<()>,
    ends: Ends,
    calls: Arc<OpenCalls>,
    stop_delay: Duration,
    drain_limit: Duration,
}

// === impl RunningServer ===

impl RunningServer {
    /// Serves until `stop` is ready, then drains: health says NOT_SERVING, new calls are refused, and running ones may
    /// go on for a while.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let (health_reporter, health_service) = tonic_health::server::health_reporter();
        // The library begins with SERVING; the monitor sets it after its first look.
        health::set(&health_reporter, false).await;
        let metrics = Arc::clone(&self.metrics);
        let monitor =
            tokio::spawn(health::monitor(self.store.clone(), health_reporter.clone(), Arc::clone(&self.metrics)));
        let _metrics_server =
            self.metrics_listener.map(|listener| MetricsServer::start(listener, Arc::clone(&self.metrics)));
        let (calls, ends) = (Arc::new(OpenCalls::new(Arc::clone(&self.metrics), self.audit)), Ends::default());
        let age = self.connections.age;
        let layers = Layers::new(self.authenticator, Arc::clone(&calls), &self.calls, age, ends.clone());
        let billing = Billing::new(self.store.clone(), &self.imports, self.statement_key);
        let billing = BillingServiceServer::new(billing).max_decoding_message_size(self.calls.request_bytes);
        let reports = Reports::new(self.store, self.focus, self.metrics);
        let columns = FlightServiceServer::new(Columns(reports.clone()));
        let columns = columns.max_decoding_message_size(self.calls.request_bytes);
        let reports = ReportsServer::new(reports, self.calls.request_bytes);
        let imports = UsageImportServiceServer::new(self.imports).max_decoding_message_size(self.calls.request_bytes);
        let health_service = health_service.max_decoding_message_size(MAX_HEALTH_BYTES);
        let unknown = ServiceBuilder::new()
            .map_request(|request: Request<axum::body::Body>| request.map(Body::new))
            .service(layers.around_public(UnknownService));
        let mut routes = Routes::from(axum::Router::new().fallback_service(unknown))
            .add_service(layers.around_public(health_service))
            .add_service(layers.around(reports))
            .add_service(layers.around(columns))
            .add_service(layers.around(imports))
            .add_service(layers.around(billing));
        if self.reflection {
            let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
            routes = routes
                .add_service(layers.around_public(v1.max_decoding_message_size(MAX_REFLECTION_BYTES)))
                .add_service(layers.around_public(v1alpha.max_decoding_message_size(MAX_REFLECTION_BYTES)));
        }
        let (drain, draining) = oneshot::channel::<()>();
        let (acceptor, connections) = listener::accept(self.listener, self.admission);
        let router = transport(&self.connections).add_routes(routes);
        let mut server = std::pin::pin!(router.serve_with_incoming_shutdown(connections, async {
            let _ = draining.await;
        }));
        tokio::select! {
            result = &mut server => return Ok(result?),
            () = stop => {}
        }
        monitor.abort();
        health::set(&health_reporter, false).await;
        metrics.set_serving(false);
        let (stop_delay, drain_limit) = (self.stop_delay, self.drain_limit);
        Stop { acceptor, drain, ends, calls, stop_delay, drain_limit }.run(server).await
    }
}

// === impl Stop ===

impl Stop {
    async fn run<F>(self, mut server: Pin<&mut F>) -> Result<(), ServeError>
    where
        F: Future<Output = Result<(), tonic::transport::Error>>,
    {
        if !self.stop_delay.is_zero() {
            tracing::info!("stopping in {} s: health says NOT_SERVING", self.stop_delay.as_secs());
            tokio::select! {
                result = &mut server => return Ok(result?),
                () = tokio::time::sleep(self.stop_delay) => {}
            }
        }
        tracing::info!("stopping: running calls may go on for {} s", self.drain_limit.as_secs());
        drop(self.acceptor);
        self.ends.endless.cancel();
        let _ = self.drain.send(());
        if let Ok(result) = tokio::time::timeout(self.drain_limit, &mut server).await {
            return Ok(result?);
        }
        tracing::warn!("ending the calls that are still running");
        self.ends.all.cancel();
        // They get their answer, and their line in the audit log.
        let end = tokio::time::timeout(CUT_OFF_LIMIT, server).await;
        self.calls.give_up();
        end.map_or(Ok(()), |result| Ok(result?))
    }
}

/// What stands above all services.
type Above = Stack<MapRequestLayer<fn(Request<Body>) -> Request<Body>>, Identity>;

fn transport(limits: &ConnectionLimits) -> Server<Above> {
    let mut builder = Server::builder();
    if let Some(age) = limits.age {
        // With a grace of its own, the transport would not ask.
        builder = builder.max_connection_age(age);
    }
    builder
        // Not adaptive: clients decide how far such a window grows, by when they answer pings.
        .initial_connection_window_size(Some(limits.window_bytes))
        .initial_stream_window_size(Some(limits.window_bytes))
        .http2_keepalive_interval(Some(limits.keepalive))
        .http2_keepalive_timeout(Some(limits.keepalive))
        .http2_max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.calls)
        .http2_max_pending_accept_reset_streams(Some(limits.resets))
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .layer(MapRequestLayer::new(note_arrival as fn(_) -> _))
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // For clients that show the details of errors.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
