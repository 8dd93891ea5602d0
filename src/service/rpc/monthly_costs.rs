//! `GetMonthlyCosts`.

use tonic::{Request, Status};

use super::parse::{moment, months, optional, page_size, required, token};
use super::services::Reports;
use crate::{
    contract::proto,
    model::{RoundingMode, plain},
    reports::{
        BillState, CostAdjustment, CostBasis, CostLine, CostTotal, Costs, CostsRequest, InvalidField, PageSize,
        RatedTier, TenantMonth, get_costs,
    },
    service::layers::Caller,
    statement::MissingDays,
};

/// The default, and the largest.
const PAGE_SIZES: (u16, u16) = (PageSize::MAX_LINES.get(), PageSize::MAX_LINES.get());

pub(super) async fn handle(
    service: &Reports,
    request: Request<proto::GetMonthlyCostsRequest>,
) -> Result<proto::GetMonthlyCostsResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = CostsRequest::try_from(request.into_inner())?;
    caller.notes.organization(request.organization_id);
    request.tenant_id.into_iter().for_each(|tenant| caller.notes.tenant(tenant));
    caller.notes.months(request.months.start(), request.months.end());
    let costs = caller.answer(get_costs(&service.store, &service.cost_totals, &caller.scope, &request).await)?;
    caller.notes.add_rows(costs.lines.len());
    Ok(costs.into())
}

impl TryFrom<proto::GetMonthlyCostsRequest> for CostsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::GetMonthlyCostsRequest) -> Result<Self, InvalidField> {
        let months = months(request.start_month, request.end_month)?;
        Ok(Self {
            organization_id: required("organization_id", &request.organization_id)?,
            tenant_id: optional("tenant_id", &request.tenant_id)?,
            months,
            as_of: moment("as_of", request.as_of)?,
            basis: basis("basis", request.basis)?,
            page_size: page_size(request.page_size, PAGE_SIZES)?,
            page_token: token("page_token", request.page_token)?,
        })
    }
}

pub(super) fn basis(field: &str, code: i32) -> Result<CostBasis, InvalidField> {
    match proto::CostBasis::try_from(code) {
        Ok(proto::CostBasis::Unspecified | proto::CostBasis::Bill) => Ok(CostBasis::Bill),
        Ok(proto::CostBasis::Current) => Ok(CostBasis::Current),
        Err(_) => Err(InvalidField::new(field, format!("there is no value {code}"))),
    }
}

impl From<Costs> for proto::GetMonthlyCostsResponse {
    fn from(costs: Costs) -> Self {
        let currency = costs.currency.code();
        let organization_id = costs.organization_id.to_string();
        let unpriced = costs.lines.iter().filter(|line| line.cost.is_none());
        Self {
            unpriced_meters: unpriced.map(|line| unpriced_meter(line, currency)).collect(),
            lines: costs.lines.iter().map(|line| cost_line(line, &organization_id, currency)).collect(),
            adjustments: costs
                .adjustments
                .iter()
                .map(|adjustment| cost_adjustment(adjustment, &organization_id, currency))
                .collect(),
            totals: costs.totals.iter().map(|total| cost_total(total, currency)).collect(),
            tenant_months: costs.tenant_months.iter().map(tenant_month).collect(),
            next_page_token: costs.next_page_token,
        }
    }
}

pub(super) fn bill_state(state: BillState) -> proto::BillState {
    match state {
        BillState::Open => proto::BillState::Open,
        BillState::Closed => proto::BillState::Closed,
    }
}

pub(super) fn cost_total(total: &CostTotal, currency: &str) -> proto::CostTotal {
    proto::CostTotal {
        month: Some(total.month.into()),
        currency: currency.to_owned(),
        cost: total.cost.to_plain_string(),
        adjustment: total.adjustment.to_plain_string(),
        amount_due: (&total.cost + &total.adjustment).to_plain_string(),
        state: bill_state(total.state).into(),
        statement_number: total.statement.map(|number| number.to_string()).unwrap_or_default(),
    }
}

pub(super) fn cost_adjustment(
    adjustment: &CostAdjustment,
    organization_id: &str,
    currency: &str,
) -> proto::CostAdjustment {
    proto::CostAdjustment {
        billing_month: Some(adjustment.billing_month.into()),
        line: Some(cost_line(&adjustment.line, organization_id, currency)),
        billed: adjustment.billed.to_plain_string(),
        amount: adjustment.amount.to_plain_string(),
        revision: adjustment.revision.to_string(),
    }
}

pub(super) fn tenant_month(report: &TenantMonth) -> proto::TenantMonth {
    proto::TenantMonth {
        month: Some(report.month.into()),
        tenant_id: report.tenant_id.to_string(),
        revision: report.revision.to_string(),
        data_as_of: report.data_as_of.map(Into::into),
        missing_days: report.missing_days.iter().map(missing_days).collect(),
    }
}

pub(super) fn missing_days(missing: &MissingDays) -> proto::MissingDays {
    proto::MissingDays { source: missing.source.clone(), days: missing.days.iter().map(ToString::to_string).collect() }
}

pub(super) fn cost_line(line: &CostLine, organization_id: &str, currency: &str) -> proto::CostLine {
    proto::CostLine {
        month: Some(line.month.into()),
        organization_id: organization_id.to_owned(),
        tenant_id: line.tenant_id.to_string(),
        tenant_name: line.tenant_name.clone(),
        plan: line.plan.clone(),
        meter_name: line.meter.name.clone(),
        meter_id: line.meter.id.to_string(),
        unit: line.meter.unit.clone(),
        billing_region: line.billing_region.code().into(),
        quantity: plain(&line.quantity),
        trial_quantity: plain(&line.trial_quantity),
        tiers: line.tiers.iter().map(cost_tier).collect(),
        // Costs show the currency's minor digits, so their zeros stay.
        cost: line.cost.as_ref().map(bigdecimal::BigDecimal::to_plain_string).unwrap_or_default(),
        currency: currency.to_owned(),
        record_count: line.record_count,
        not_charged: !line.is_charged,
        rounding: line.rounding.map_or(0, RoundingMode::code),
    }
}

fn cost_tier(tier: &RatedTier) -> proto::CostTier {
    proto::CostTier {
        from: plain(&tier.from),
        to: tier.to.as_ref().map(plain).unwrap_or_default(),
        quantity: plain(&tier.quantity),
        unit_price: plain(&tier.unit_price),
        amount: plain(&tier.amount),
    }
}

pub(super) fn unpriced_meter(line: &CostLine, currency: &str) -> proto::UnpricedMeter {
    proto::UnpricedMeter {
        month: Some(line.month.into()),
        tenant_id: line.tenant_id.to_string(),
        meter_name: line.meter.name.clone(),
        meter_id: line.meter.id.to_string(),
        billing_region: line.billing_region.code().into(),
        currency: currency.to_owned(),
        quantity: plain(&line.quantity),
    }
}
