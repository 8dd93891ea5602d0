//! `WithdrawUsage`.

use chrono::NaiveDate;
use tonic::{Request, Status};

use super::{
    import_usage::note_loads,
    parse::{required, source},
    services::ImportService,
};
use crate::{
    contract::proto,
    ingest::Delivery,
    model::{Source, TenantId, UsageDay},
    reports::InvalidField,
    service::{layers::Caller, status::import_too_long},
};

pub(super) async fn handle(
    service: &ImportService,
    request: Request<proto::WithdrawUsageRequest>,
) -> Result<proto::WithdrawUsageResponse, Status> {
    let limit = service.bounds.duration;
    let withdrawn = tokio::time::timeout(limit, withdraw(service, request)).await;
    withdrawn.unwrap_or_else(|_| Err(import_too_long(limit)))
}

async fn withdraw(
    service: &ImportService,
    request: Request<proto::WithdrawUsageRequest>,
) -> Result<proto::WithdrawUsageResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = WithdrawRequest::try_from(request.into_inner())?;
    note_loads(&caller.notes, std::iter::once((request.tenant_id, request.usage_day)));
    let import = service.begin(&caller, request.source).await?;
    let delivery = Delivery { name: "WithdrawUsage", is_complete: false, dry_run: false };
    let report = import.withdraw(request.tenant_id, request.usage_day, &delivery).await?;
    service.count(&report);
    Ok(proto::WithdrawUsageResponse {
        load: report.loads.first().map(Into::into),
        published_at: report.published_at.map(Into::into),
    })
}

struct WithdrawRequest {
    tenant_id: TenantId,
    usage_day: NaiveDate,
    source: Source,
}

impl TryFrom<proto::WithdrawUsageRequest> for WithdrawRequest {
    type Error = InvalidField;

    fn try_from(request: proto::WithdrawUsageRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            tenant_id: required("tenant_id", &request.tenant_id)?,
            usage_day: required::<UsageDay>("usage_day", &request.usage_day)?.into(),
            source: source(&request.source)?,
        })
    }
}
