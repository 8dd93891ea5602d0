//! The health service, kept true.

use std::time::Duration;

use tonic_health::{ServingStatus, server::HealthReporter};

use crate::store::Store;

/// How often the database is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The empty name stands for the server as a whole.
const SERVICES: [&str; 3] =
    ["", "secureconnect.reports.v1.ReportsService", "secureconnect.reports.v1.UsageImportService"];

/// Asks the database for a sign of life, again and again.
pub(super) async fn monitor(store: Store, reporter: HealthReporter) {
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
            set(&reporter, alive).await;
            if alive {
                tracing::info!("serving");
            }
            serving = Some(alive);
        }
        tokio::time::sleep(PING_INTERVAL).await;
    }
}

pub(super) async fn set(reporter: &HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
