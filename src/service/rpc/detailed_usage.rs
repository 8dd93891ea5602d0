//! `GetDetailedUsage`.

use std::sync::Arc;

use tonic::{Request, Status};

use super::{
    monthly_costs::missing_days,
    parse::{codes, missing, moment, month, optional, required, texts, token},
    services::Reports,
    usage::UsageStream,
};
use crate::{
    contract::proto,
    model::{AssetType, BillingRegion, MAX_ASSET_ID_BYTES, MAX_METER_NAME_BYTES, StatementNumber, UsageFilter, plain},
    reports::{InvalidField, UsageHeader, UsageReport, UsageRequest, UsageTotal},
    service::layers::Caller,
};

/// Answers with messages that are encoded.
pub(super) async fn handle(
    reports: &Reports,
    request: Request<proto::GetDetailedUsageRequest>,
) -> Result<UsageStream, Status> {
    let caller = Caller::of(&request)?;
    let message = request.into_inner();
    let packed = message.packed;
    let request = UsageRequest::try_from(message)?;
    caller.notes.tenant(request.tenant_id);
    caller.notes.months(request.month, request.month);
    // A stream goes on to its end when the token expires meanwhile: what it reads was fixed when it began.
    let report = caller.answer(UsageReport::open(reports.store.clone(), &caller.scope, &request).await)?;
    caller.notes.organization(report.header().tenant.organization_id());
    if !request.resume_token.is_empty() {
        reports.metrics.download_resumed();
    }
    // The first records are read before the answer begins: what fails until then is a status without a stream,
    // which clients try again by themselves.
    Ok(UsageStream::start(report, packed, caller.notes, Arc::clone(&reports.assets)).await?)
}

impl TryFrom<proto::GetDetailedUsageRequest> for UsageRequest {
    type Error = InvalidField;

    fn try_from(request: proto::GetDetailedUsageRequest) -> Result<Self, InvalidField> {
        let tenant_id = required("tenant_id", &request.tenant_id)?;
        let month = month("month", request.month)?.ok_or_else(|| missing("month"))?;
        let as_of = moment("as_of", request.as_of)?;
        let statement: Option<StatementNumber> = optional("statement_number", &request.statement_number)?;
        if statement.is_some() && as_of.is_some() {
            return Err(InvalidField::new("as_of", "a statement has its own moment: ask for one of the two"));
        }
        if let Some(number) = statement.filter(|number| number.billing_month < month) {
            let reason = format!("a statement of {}, which has no usage of {month}", number.billing_month);
            return Err(InvalidField::new("statement_number", reason));
        }
        Ok(Self {
            tenant_id,
            month,
            filter: filter(request.filter.unwrap_or_default())?,
            as_of,
            statement,
            resume_token: token("resume_token", request.resume_token)?,
        })
    }
}

fn filter(filter: proto::UsageFilter) -> Result<UsageFilter, InvalidField> {
    Ok(UsageFilter {
        asset_types: codes("filter.asset_types", &filter.asset_types, AssetType::from_code)?,
        asset_ids: texts("filter.asset_ids", filter.asset_ids, MAX_ASSET_ID_BYTES)?,
        meter_names: texts("filter.meter_names", filter.meter_names, MAX_METER_NAME_BYTES)?,
        billing_regions: codes("filter.billing_regions", &filter.billing_regions, BillingRegion::from_code)?,
        trial: filter.trial,
    })
}

impl From<&UsageHeader> for proto::ReportHeader {
    fn from(header: &UsageHeader) -> Self {
        Self {
            tenant_id: header.tenant.id().to_string(),
            tenant_name: header.tenant.name().to_owned(),
            organization_id: header.tenant.organization_id().to_string(),
            month: Some(header.month.into()),
            revision: header.revision.to_string(),
            data_as_of: header.data_as_of.map(Into::into),
            record_count: header.record_count.cast_signed(),
            resumed_record_count: header.resumed_record_count.cast_signed(),
            missing_days: header.missing_days.iter().map(missing_days).collect(),
        }
    }
}

impl From<&UsageTotal> for proto::UsageTotal {
    fn from(total: &UsageTotal) -> Self {
        Self {
            meter_name: total.meter.name.clone(),
            meter_id: total.meter.id.to_string(),
            billing_region: total.billing_region.code().into(),
            trial: total.trial,
            quantity: plain(&total.quantity),
            record_count: total.record_count.cast_signed(),
        }
    }
}
