//! `CloseMonth`.

use tonic::{Request, Status};

use super::{
    get_statement::statement,
    monthly_costs::{missing_days, unpriced_meter},
    parse::{missing, month, required},
    services::Billing,
};
use crate::{
    billing::{CloseError, CloseOutcome, CloseRequest, Closed},
    contract::proto,
    reports::{InvalidField, ReportError},
    service::{layers::Caller, status::close_too_long},
};

pub(super) async fn handle(
    service: &Billing,
    request: Request<proto::CloseMonthRequest>,
) -> Result<proto::CloseMonthResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = CloseRequest::try_from(request.into_inner())?;
    caller.notes.organization(request.organization_id);
    caller.notes.months(request.month, request.month);
    let closed = async {
        let mut closer = service.closer(&caller).await?;
        closer.close(&caller.scope, &request).await
    };
    let closed = tokio::time::timeout(service.close_limit, closed).await;
    let closed = closed.map_err(|_| close_too_long(service.close_limit))?;
    match closed {
        Err(CloseError::OrganizationNotFound(hidden)) => caller.answer(Err(ReportError::OrganizationNotFound(hidden))),
        closed => Ok(response(&closed?)?),
    }
}

impl TryFrom<proto::CloseMonthRequest> for CloseRequest {
    type Error = InvalidField;

    fn try_from(request: proto::CloseMonthRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            organization_id: required("organization_id", &request.organization_id)?,
            month: month("month", request.month)?.ok_or_else(|| missing("month"))?,
            allow_unpriced: request.allow_unpriced,
            allow_missing_days: request.allow_missing_days,
            dry_run: request.dry_run,
        })
    }
}

fn response(closed: &Closed) -> Result<proto::CloseMonthResponse, Status> {
    let currency = closed.currency().code();
    let outcome = match closed.outcome {
        CloseOutcome::Closed => proto::CloseOutcome::Closed,
        CloseOutcome::Unchanged => proto::CloseOutcome::Unchanged,
        CloseOutcome::DryRun => proto::CloseOutcome::DryRun,
    };
    let days = closed.missing_days.first.iter().map(|(tenant, missing)| proto::TenantMissingDays {
        tenant_id: tenant.to_string(),
        missing_days: Some(missing_days(missing)),
    });
    Ok(proto::CloseMonthResponse {
        outcome: outcome.into(),
        statement: closed.statement.as_ref().map(statement).transpose()?,
        cost: closed.cost.to_plain_string(),
        adjustment: closed.adjustment.to_plain_string(),
        amount_due: closed.amount_due().to_plain_string(),
        currency: currency.to_owned(),
        unpriced_meters: closed.unpriced.first.iter().map(|line| unpriced_meter(line, currency)).collect(),
        missing_days: days.collect(),
    })
}
