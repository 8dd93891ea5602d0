//! `GetCostBreakdown`.

use tonic::{Request, Status};

use super::{
    breakdown_stream::{self, BreakdownStream},
    monthly_costs::basis,
    parse::{codes, missing, moment, months, optional, texts},
    services::Reports,
};
use crate::{
    contract::proto,
    model::{
        AssetType, BillSubject, BillingRegion, BreakdownFilter, CostGroup, CostGroups, MAX_ASSET_ID_BYTES,
        MAX_METER_NAME_BYTES, MissingGroup, Platform, plain,
    },
    reports::{Breakdown, BreakdownHeader, BreakdownRequest, CostShare, InvalidField, TenantMonth},
    service::layers::Caller,
};

pub(super) async fn handle(
    reports: &Reports,
    request: Request<proto::GetCostBreakdownRequest>,
) -> Result<BreakdownStream, Status> {
    let caller = Caller::of(&request)?;
    let request = BreakdownRequest::try_from(request.into_inner())?;
    let (organization, tenant) = match request.subject {
        BillSubject::Organization(organization, tenant) => (Some(organization), tenant),
        BillSubject::Tenant(tenant) => (None, Some(tenant)),
    };
    organization.into_iter().for_each(|id| caller.notes.organization(id));
    tenant.into_iter().for_each(|id| caller.notes.tenant(id));
    caller.notes.months(request.months.start(), request.months.end());
    let opened = Breakdown::open(reports.store.clone(), &reports.group_budget, &caller.scope, request).await;
    let breakdown = caller.answer(opened)?;
    caller.notes.organization(breakdown.header().organization_id);
    breakdown_stream::start(breakdown, caller.notes).await
}

impl TryFrom<proto::GetCostBreakdownRequest> for BreakdownRequest {
    type Error = InvalidField;

    fn try_from(request: proto::GetCostBreakdownRequest) -> Result<Self, InvalidField> {
        let organization = optional("organization_id", &request.organization_id)?;
        let tenant = optional("tenant_id", &request.tenant_id)?;
        let subject = match (organization, tenant) {
            (Some(organization), tenant) => BillSubject::Organization(organization, tenant),
            (None, Some(tenant)) => BillSubject::Tenant(tenant),
            (None, None) => return Err(missing("organization_id")),
        };
        let groups: CostGroups = codes("group_by", &request.group_by, CostGroup::from_code)?.into_iter().collect();
        let filter = filter(request.filter.unwrap_or_default())?;
        filter.check(groups).map_err(missing_group)?;
        Ok(Self {
            subject,
            months: months(request.start_month, request.end_month)?,
            groups,
            filter,
            as_of: moment("as_of", request.as_of)?,
            basis: basis("basis", request.basis)?,
        })
    }
}

fn filter(filter: proto::BreakdownFilter) -> Result<BreakdownFilter, InvalidField> {
    Ok(BreakdownFilter {
        asset_types: codes("filter.asset_types", &filter.asset_types, AssetType::from_code)?,
        asset_ids: texts("filter.asset_ids", filter.asset_ids, MAX_ASSET_ID_BYTES)?,
        meter_names: texts("filter.meter_names", filter.meter_names, MAX_METER_NAME_BYTES)?,
        billing_regions: codes("filter.billing_regions", &filter.billing_regions, BillingRegion::from_code)?,
    })
}

fn missing_group(missing: MissingGroup) -> InvalidField {
    let (field, groups) = match missing {
        MissingGroup::OfAssetTypes => ("filter.asset_types", "COST_GROUP_ASSET or COST_GROUP_ASSET_TYPE"),
        MissingGroup::OfAssetIds => ("filter.asset_ids", "COST_GROUP_ASSET"),
    };
    InvalidField::new(field, format!("selects rows that are not asked for; add {groups} to group_by"))
}

impl From<BreakdownHeader> for proto::BreakdownHeader {
    fn from(header: BreakdownHeader) -> Self {
        Self {
            organization_id: header.organization_id.to_string(),
            start_month: Some(header.months.start().into()),
            end_month: Some(header.months.end().into()),
            group_by: header.groups.iter().map(|group| group.code().into()).collect(),
            currency: header.currency.code().to_owned(),
        }
    }
}

impl From<&TenantMonth> for proto::BreakdownReport {
    fn from(report: &TenantMonth) -> Self {
        Self {
            month: Some(report.month.into()),
            tenant_id: report.tenant_id.to_string(),
            revision: report.revision.to_string(),
            data_as_of: report.data_as_of.map(Into::into),
        }
    }
}

/// A row; its organization and currency are those of the header.
impl From<(CostShare, BreakdownHeader)> for proto::CostShare {
    fn from((row, header): (CostShare, BreakdownHeader)) -> Self {
        let line = &row.line;
        let (asset_id, asset_name) = row.asset.map(|asset| (asset.id, asset.name)).unwrap_or_default();
        Self {
            month: Some(line.month.into()),
            organization_id: header.organization_id.to_string(),
            tenant_id: line.tenant_id.to_string(),
            tenant_name: line.tenant_name.clone(),
            plan: line.plan.clone(),
            meter_name: line.meter.name.clone(),
            meter_id: line.meter.id.to_string(),
            unit: line.meter.unit.clone(),
            billing_region: line.billing_region.code().into(),
            asset_type: row.asset_type.map_or(0, |asset_type| asset_type.code().into()),
            asset_id,
            asset_name,
            usage_day: row.usage_day.map(|day| day.to_string()).unwrap_or_default(),
            platform: row.platform.map_or(0, |platform: Platform| platform.code().into()),
            quantity: plain(&row.quantity),
            trial_quantity: plain(&row.trial_quantity),
            // Costs show the currency's minor digits, so their zeros stay.
            cost: row.cost.map(|cost| cost.to_plain_string()).unwrap_or_default(),
            currency: header.currency.code().to_owned(),
            record_count: row.record_count,
        }
    }
}
