//! Serves metrics by HTTP, on a port of their own.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::telemetry::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until it is dropped.
pub(super) struct MetricsServer(JoinHandle<()>);

impl MetricsServer {
    pub(super) fn start(listener: TcpListener, metrics: Arc<Metrics>) -> Self {
        let router = Router::new().route("/metrics", get(answer)).with_state(metrics);
        Self(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the metrics endpoint failed");
            }
        }))
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    metrics
        .to_text()
        .map(|text| ([(CONTENT_TYPE, OPEN_METRICS)], text))
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
