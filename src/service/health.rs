//! Keeps the health service up to date.

use std::{sync::Arc, time::Duration};

use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    contract::proto::{reports_service_server, usage_import_service_server},
    store::{Layout, Store, check_schema},
    telemetry::metrics::Metrics,
};

const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The empty name stands for the server as a whole.
const SERVICES: [&str; 3] = ["", reports_service_server::SERVICE_NAME, usage_import_service_server::SERVICE_NAME];

/// Checks again and again that the database has our schema. It may become unavailable, it may come back from a backup with
/// another schema, and it may be migrated for a newer version while this one runs.
pub(super) async fn monitor(store: Store, reporter: HealthReporter, metrics: Arc<Metrics>) {
    let (mut serving, mut known) = (None, None);
    let mut logged = String::new();
    loop {
        let alive = match check(&store, &metrics).await {
            Ok(layout) => {
                if known != Some(layout) {
                    // Where it was never otherwise, that goes without saying.
                    if layout != Layout::Together || known.is_some() {
                        tracing::info!("records lie {layout}");
                    }
                    metrics.set_records_apart(layout == Layout::Apart);
                    known = Some(layout);
                }
                true
            }
            Err(error) => {
                // Once for each reason: a database that was unavailable may come back without a schema.
                if serving != Some(false) || error != logged {
                    tracing::warn!(%error, "not serving");
                    logged = error;
                }
                false
            }
        };
        if serving != Some(alive) {
            set(&reporter, alive).await;
            metrics.set_serving(alive);
            if alive {
                tracing::info!("serving");
            }
            serving = Some(alive);
        }
        tokio::time::sleep(PING_INTERVAL).await;
    }
}

/// Makes sure that the database has our schema. Also notes when the newest load came.
async fn check(store: &Store, metrics: &Metrics) -> Result<Layout, String> {
    let layout = check_schema(store).await.map_err(|error| error.to_string())?;
    if let Ok(Some(newest)) = store.newest_load().await {
        // Seconds to the microsecond fit into 53 bits.
        #[expect(clippy::cast_precision_loss)]
        metrics.set_newest_load(newest.unix_micros() as f64 / 1e6);
    }
    Ok(layout)
}

pub(super) async fn set(reporter: &HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
