//! `GetStatement`.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Status};

use super::{
    monthly_costs::{cost_adjustment, cost_line, tenant_month},
    parse::{missing, month, required},
};
use crate::{
    contract::proto,
    model::{Month, OrganizationId, hex},
    reports::{InvalidField, StatementPart, StatementReader},
    service::layers::Caller,
    statement::Head,
    store::{ReportLoads, Statement, Store, StoreError},
};

type Answers = Pin<Box<dyn Stream<Item = Result<proto::GetStatementResponse, Status>> + Send>>;

pub(super) async fn handle(store: &Store, request: Request<proto::GetStatementRequest>) -> Result<Answers, Status> {
    let caller = Caller::of(&request)?;
    let (organization, billing_month) = parse(&request.into_inner())?;
    caller.notes.organization(organization);
    caller.notes.months(billing_month, billing_month);
    let reader = StatementReader::open(store.clone(), &caller.scope, organization, billing_month).await;
    let reader = caller.answer(reader)?;
    let head = head(reader.statement())?;
    let (organization, currency) = (head.organization_id.to_string(), head.currency.code());
    let first = proto::GetStatementResponse {
        statement: Some(message(reader.statement(), &head)),
        ..proto::GetStatementResponse::default()
    };
    let parts = futures_util::stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, Status>(reader.next().await?.map(|part| (part, reader)))
    });
    let parts = tokio_stream::StreamExt::map(parts, move |part| {
        let mut answer = proto::GetStatementResponse::default();
        match part? {
            StatementPart::Lines(lines) => {
                answer.lines = lines.iter().map(|line| cost_line(line, &organization, currency)).collect();
            }
            StatementPart::Adjustments(adjustments) => {
                let message = |adjustment| cost_adjustment(adjustment, &organization, currency);
                answer.adjustments = adjustments.iter().map(message).collect();
            }
            StatementPart::Reports(reports) => answer.tenant_months = reports.iter().map(tenant_month).collect(),
            StatementPart::Loads(reports) => answer.report_loads = reports.iter().map(report_loads).collect(),
        }
        let count = answer.lines.len() + answer.adjustments.len();
        caller.notes.add_rows(count);
        Ok(answer)
    });
    Ok(Box::pin(tokio_stream::StreamExt::chain(tokio_stream::once(Ok(first)), parts)))
}

fn report_loads(report: &ReportLoads) -> proto::ReportLoads {
    let loads = report.loads.iter().map(|load| proto::ReportLoad {
        usage_day: load.usage_day.to_string(),
        source: load.source.clone(),
        record_count: load.record_count.into(),
        digest: hex(&load.digest),
    });
    proto::ReportLoads {
        tenant_id: report.tenant.to_string(),
        month: Some(report.month.into()),
        loads: loads.collect(),
    }
}

fn parse(request: &proto::GetStatementRequest) -> Result<(OrganizationId, Month), InvalidField> {
    let organization = required("organization_id", &request.organization_id)?;
    Ok((organization, month("billing_month", request.billing_month)?.ok_or_else(|| missing("billing_month"))?))
}

fn head(statement: &Statement) -> Result<Head, StoreError> {
    serde_json::from_str(&statement.head)
        .map_err(|error| StoreError::corrupt(format!("the head of statement {}: {error}", statement.number)))
}

/// A statement without its lines.
pub(super) fn statement(statement: &Statement) -> Result<proto::Statement, Status> {
    Ok(message(statement, &head(statement)?))
}

fn message(statement: &Statement, head: &Head) -> proto::Statement {
    let signature = statement.signature.as_ref();
    proto::Statement {
        number: head.number.to_string(),
        organization_id: head.organization_id.to_string(),
        organization_name: head.organization_name.clone(),
        billing_month: Some(head.billing_month.into()),
        currency: head.currency.code().to_owned(),
        line_total: head.line_total.to_plain_string(),
        adjustment_total: head.adjustment_total.to_plain_string(),
        total: head.total.to_plain_string(),
        line_count: head.line_count.into(),
        adjustment_count: head.adjustment_count.into(),
        report_count: head.report_count.into(),
        horizon: Some(head.horizon.into()),
        closed_at: Some(head.closed_at.into()),
        closed_by: head.closed_by.clone(),
        lines_digest: hex(&head.lines_digest),
        adjustments_digest: hex(&head.adjustments_digest),
        reports_digest: hex(&head.reports_digest),
        previous_digest: head.previous_digest.map(|digest| hex(&digest)).unwrap_or_default(),
        digest: hex(&statement.digest),
        signature: signature.map(|signature| signature.bytes.to_vec()).unwrap_or_default(),
        key_id: signature.map(|signature| signature.key_id.clone()).unwrap_or_default(),
        version: head.version.cast_signed(),
    }
}
