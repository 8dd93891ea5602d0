//! What the handlers of a service share.

use std::{sync::Arc, time::Duration};

use super::usage::AssetCache;
use crate::{
    ingest::{Import, ImportError, ImportReport},
    model::Source,
    service::layers::Caller,
    store::{Store, StoreConfig},
    telemetry::metrics::Metrics,
};

/// Serves reports from a store.
#[derive(Clone)]
pub(in crate::service) struct Reports {
    pub(super) store: Store,
    pub(super) assets: Arc<AssetCache>,
    pub(super) metrics: Arc<Metrics>,
}

// === impl Reports ===

impl Reports {
    pub(in crate::service) fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, assets: Arc::default(), metrics }
    }
}

/// Imports usage into a database.
#[derive(Clone)]
pub(in crate::service) struct ImportService {
    store: Store,
    config: StoreConfig,
    /// How long a caller may take between two messages.
    pub(super) idle_limit: Duration,
    metrics: Arc<Metrics>,
}

// === impl ImportService ===

impl ImportService {
    pub(in crate::service) fn new(
        store: Store,
        config: StoreConfig,
        idle_limit: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { store, config, idle_limit, metrics }
    }

    pub(super) async fn begin(&self, caller: &Caller, source: Source) -> Result<Import, ImportError> {
        Import::new(&self.store, self.config.clone(), &caller.scope, &caller.subject, source).await
    }

    pub(super) fn count(&self, report: &ImportReport) {
        for load in &report.loads {
            self.metrics.loads_imported(load.outcome.name(), 1);
        }
    }
}
