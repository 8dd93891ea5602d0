//! `GetTenant`.

use tonic::{Request, Status};

use super::parse::{moment, required};
use crate::{
    contract::proto,
    model::{TenantId, UtcTime, hex},
    reports::{InvalidField, get_tenant},
    service::layers::Caller,
    store::{Store, UsageMonth},
};

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::GetTenantRequest>,
) -> Result<proto::GetTenantResponse, Status> {
    let caller = Caller::of(&request)?;
    let (tenant_id, as_of) = parse(&request.into_inner())?;
    caller.notes.tenant(tenant_id);
    let usage = caller.answer(get_tenant(store, &caller.scope, tenant_id, as_of).await)?;
    caller.notes.organization(usage.tenant.organization_id);
    Ok(proto::GetTenantResponse {
        tenant: Some(usage.tenant.into()),
        months: usage.months.iter().map(Into::into).collect(),
        as_of: Some(usage.as_of.into()),
    })
}

fn parse(request: &proto::GetTenantRequest) -> Result<(TenantId, Option<UtcTime>), InvalidField> {
    Ok((required("tenant_id", &request.tenant_id)?, moment("as_of", request.as_of)?))
}

impl From<&UsageMonth> for proto::UsageMonth {
    fn from(month: &UsageMonth) -> Self {
        let state = if month.is_closed { proto::BillState::Closed } else { proto::BillState::Open };
        Self {
            month: Some(month.month.into()),
            revision: hex(&month.revision),
            record_count: month.record_count,
            data_as_of: Some(month.data_as_of.into()),
            state: state.into(),
            statement_number: month.statement.map(|number| number.to_string()).unwrap_or_default(),
        }
    }
}
