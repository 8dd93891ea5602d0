//! What the handlers of a service share.

use std::{sync::Arc, time::Duration};

use super::usage::AssetCache;
use crate::{
    auth::TenantScope,
    billing::Closer,
    ingest::{Import, ImportError, ImportLimits, ImportReport},
    model::Source,
    reports::{CostPages, CostTotals, CostsRequest, FocusProvider, GroupBudget, ReportError},
    service::layers::Caller,
    statement::StatementKey,
    store::{Store, StoreConfig, StoreError},
    telemetry::metrics::Metrics,
};

/// Serves reports from a store.
#[derive(Clone)]
pub(in crate::service) struct Reports {
    pub(super) store: Store,
    pub(super) assets: Arc<AssetCache>,
    pub(super) cost_totals: Arc<CostTotals>,
    pub(super) group_budget: GroupBudget,
    pub(super) focus: Arc<FocusProvider>,
    pub(super) metrics: Arc<Metrics>,
}

/// What one call may take.
#[derive(Clone, Copy)]
pub(in crate::service) struct ImportBounds {
    /// How long a caller may take between two messages.
    pub(in crate::service) idle: Duration,
    pub(in crate::service) duration: Duration,
    pub(in crate::service) import: ImportLimits,
}

// === impl Reports ===

impl Reports {
    pub(in crate::service) fn new(store: Store, focus: FocusProvider, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            focus: Arc::new(focus),
            assets: Arc::default(),
            cost_totals: Arc::default(),
            group_budget: GroupBudget::default(),
            metrics,
        }
    }

    /// The pages of a bill, for who reads all of them.
    pub(super) async fn cost_pages(
        &self,
        scope: &TenantScope,
        request: CostsRequest,
    ) -> Result<CostPages, ReportError> {
        CostPages::new(self.store.clone(), Arc::clone(&self.cost_totals), scope.clone(), request).await
    }
}

/// Closes months, and reads their statements.
#[derive(Clone)]
pub(in crate::service) struct Billing {
    pub(super) store: Store,
    closing_store: Store,
    config: StoreConfig,
    key: Option<Arc<StatementKey>>,
    /// How long closing a month may take.
    pub(super) close_limit: Duration,
}

// === impl Billing ===

impl Billing {
    /// Reads from `store`, and writes as imports do.
    pub(in crate::service) fn new(store: Store, imports: &ImportService, key: Option<Arc<StatementKey>>) -> Self {
        let close_limit = imports.bounds.duration;
        Self { store, closing_store: imports.store.clone(), config: imports.config.clone(), key, close_limit }
    }

    pub(super) async fn closer(&self, caller: &Caller) -> Result<Closer, StoreError> {
        Closer::open(self.closing_store.clone(), &self.config, self.key.clone(), caller.subject.as_str()).await
    }
}

/// Imports usage into a database.
#[derive(Clone)]
pub(in crate::service) struct ImportService {
    store: Store,
    config: StoreConfig,
    pub(super) bounds: ImportBounds,
    metrics: Arc<Metrics>,
}

// === impl ImportService ===

impl ImportService {
    pub(in crate::service) fn new(
        store: Store,
        config: StoreConfig,
        bounds: ImportBounds,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { store, config, bounds, metrics }
    }

    pub(super) async fn begin(&self, caller: &Caller, source: Source) -> Result<Import, ImportError> {
        let importer = (caller.subject.as_str(), source);
        Import::with_limits(&self.store, &caller.scope, importer, self.bounds.import).await
    }

    pub(super) fn count(&self, report: &ImportReport) {
        for load in &report.loads {
            self.metrics.loads_imported(load.outcome.name(), 1);
        }
    }
}
