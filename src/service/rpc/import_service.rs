//! `UsageImportService`: what the `import` command does, for back ends.

use std::{sync::Arc, time::Duration};

use tonic::{Request, Response, Status, Streaming};

use super::{import_usage, withdraw_usage};
use crate::{
    contract::proto::{self, usage_import_service_server::UsageImportService},
    ingest::{Import, ImportError, ImportReport},
    model::Source,
    service::layers::Caller,
    store::{Store, StoreConfig},
    telemetry::metrics::Metrics,
};

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

#[tonic::async_trait]
impl UsageImportService for ImportService {
    async fn import_usage(
        &self,
        request: Request<Streaming<proto::ImportUsageRequest>>,
    ) -> Result<Response<proto::ImportUsageResponse>, Status> {
        Ok(Response::new(import_usage::handle(self, request).await?))
    }

    async fn withdraw_usage(
        &self,
        request: Request<proto::WithdrawUsageRequest>,
    ) -> Result<Response<proto::WithdrawUsageResponse>, Status> {
        Ok(Response::new(withdraw_usage::handle(self, request).await?))
    }
}
