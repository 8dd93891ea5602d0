//! A report that was found for a caller: its manifest, fixed at a snapshot.

use super::{UsageHeader, UsageRequest};
use crate::{
    auth::TenantScope,
    model::Month,
    reports::{
        ReportError,
        manifest::{self, Revision},
    },
    store::{Load, Meters, SnapshotTime, Store, VisibleTenant},
};

pub(super) struct FoundReport {
    pub(super) tenant: VisibleTenant,
    pub(super) month: Month,
    pub(super) snapshot: SnapshotTime,
    pub(super) revision: Revision,
    pub(super) loads: Vec<Load>,
    pub(super) meters: Meters,
}

// === impl FoundReport ===

impl FoundReport {
    /// `snapshot`: that of the report, unless the request names a statement.
    pub(super) async fn find(
        store: &Store,
        scope: &TenantScope,
        request: &UsageRequest,
        snapshot: impl Future<Output = Result<SnapshotTime, ReportError>>,
    ) -> Result<Self, ReportError> {
        let UsageRequest { tenant_id, month, .. } = *request;
        // A resume token has the moment of its statement.
        let statement = request.statement.filter(|_| request.resume_token.is_empty());
        // Concurrently, since they are independent.
        let (tenant, snapshot, meters) = tokio::join!(store.find_tenant(scope, tenant_id), snapshot, store.meters());
        // Callers who may not see the tenant must not learn anything else.
        let tenant = tenant?.visible().map_err(ReportError::TenantNotFound)?;
        let (mut snapshot, meters) = (snapshot?, meters?);
        if let Some(number) = statement {
            snapshot = store.statement_horizon(&tenant, number).await?.ok_or(ReportError::StatementNotFound)?;
        }
        let loads = store.loads_in_force(&tenant, month, snapshot).await?;
        let revision = manifest::revision(tenant_id, month, &loads);
        Ok(Self { tenant, month, snapshot, revision, loads, meters })
    }

    /// Whether records of the report are kept no longer.
    pub(super) fn is_purged(&self) -> bool {
        self.loads.iter().any(|load| load.is_purged)
    }

    pub(super) fn header(&self) -> UsageHeader {
        UsageHeader {
            tenant: self.tenant.clone(),
            month: self.month,
            revision: self.revision,
            data_as_of: manifest::data_as_of(&self.loads),
            record_count: 0,
            resumed_record_count: 0,
            missing_days: manifest::missing_days(&self.loads),
        }
    }
}
