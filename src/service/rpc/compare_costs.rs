//! `CompareCosts`.

use bigdecimal::BigDecimal;
use tonic::{Request, Status};

use super::{
    compare_stream::{self, ComparisonStream},
    monthly_costs::{basis, bill_state},
    parse::{missing, moment, month, optional, required},
    services::Reports,
};
use crate::{
    catalog::{MeterCharge, PriceListDraft, RawPrice, RawTier},
    contract::proto,
    model::{BillingRegion, PricingModel, RoundingMode, plain},
    reports::{
        BillRequest, CompareRequest, ComparedLine, ComparedSide, Comparison, ComparisonHeader, ComparisonSummary,
        InvalidField, MovedAsset,
    },
    service::layers::Caller,
};

/// How many assets are named by default, and at most.
const TOP_ASSETS: (u16, u16) = (10, 100);

pub(super) async fn handle(
    reports: &Reports,
    request: Request<proto::CompareCostsRequest>,
) -> Result<ComparisonStream, Status> {
    let caller = Caller::of(&request)?;
    let request = CompareRequest::try_from(request.into_inner())?;
    caller.notes.organization(request.organization_id);
    request.tenant_id.into_iter().for_each(|tenant| caller.notes.tenant(tenant));
    let (base, target) = (request.base.month, request.target.month);
    caller.notes.months(base.min(target), base.max(target));
    let comparison = Comparison::open(reports.store.clone(), &reports.group_budget, &caller.scope, request).await;
    let comparison = caller.answer(comparison)?;
    compare_stream::start(comparison, caller.notes).await
}

impl TryFrom<proto::CompareCostsRequest> for CompareRequest {
    type Error = InvalidField;

    fn try_from(request: proto::CompareCostsRequest) -> Result<Self, InvalidField> {
        let base = bill("base", request.base)?;
        let target = bill("target", request.target)?;
        if base.draft.is_some() && target.draft.is_some() {
            return Err(InvalidField::new("target.draft", "only one of the two bills may have a draft"));
        }
        Ok(Self {
            organization_id: required("organization_id", &request.organization_id)?,
            tenant_id: optional("tenant_id", &request.tenant_id)?,
            base,
            target,
            top_assets: top_assets(request.top_assets)?,
        })
    }
}

fn top_assets(asked: Option<i32>) -> Result<u16, InvalidField> {
    let count = u16::try_from(asked.unwrap_or(TOP_ASSETS.0.into()).min(TOP_ASSETS.1.into()));
    count.map_err(|_| InvalidField::new("top_assets", "must not be negative"))
}

fn bill(side: &str, bill: Option<proto::CostSide>) -> Result<BillRequest, InvalidField> {
    let field = |name: &str| format!("{side}.{name}");
    let bill = bill.ok_or_else(|| missing(side))?;
    Ok(BillRequest {
        month: month(&field("month"), bill.month)?.ok_or_else(|| missing(&field("month")))?,
        as_of: moment(&field("as_of"), bill.as_of)?,
        basis: basis(&field("basis"), bill.basis)?,
        draft: bill.draft.map(|message| draft(&field("draft"), message)).transpose()?,
    })
}

/// A draft is checked as what a catalog file says.
fn draft(field: &str, draft: proto::PriceListDraft) -> Result<PriceListDraft, InvalidField> {
    let prices =
        draft.prices.into_iter().enumerate().map(|(index, price)| raw(&format!("{field}.prices[{index}]"), price));
    let prices = prices.collect::<Result<Vec<_>, _>>()?;
    let meters = draft.meters.into_iter().map(|meter| MeterCharge { meter: meter.meter, charged: meter.charged });
    PriceListDraft::check(prices, meters.collect()).map_err(|invalid| {
        let first = invalid.0.into_iter().next();
        let (place, reason) = first.map(|problem| (problem.place, problem.reason)).unwrap_or_default();
        InvalidField::new(format!("{field}.{place}"), reason)
    })
}

/// A price as a catalog file has it.
fn raw(field: &str, price: proto::DraftPrice) -> Result<RawPrice, InvalidField> {
    let unknown =
        |name: &str, code: i32| InvalidField::new(format!("{field}.{name}"), format!("there is no value {code}"));
    let effective_from = format!("{field}.effective_from");
    let from = month(&effective_from, price.effective_from)?.ok_or_else(|| missing(&effective_from))?;
    let region = match price.billing_region {
        0 => None,
        code => {
            let region = BillingRegion::from_code(code).ok_or_else(|| unknown("billing_region", code))?;
            Some(region.as_str().to_owned())
        }
    };
    let pricing_model = match price.pricing_model {
        0 => None,
        code => Some(PricingModel::name_of(code).ok_or_else(|| unknown("pricing_model", code))?.to_owned()),
    };
    let rounding = match price.rounding {
        0 => None,
        code => Some(RoundingMode::from_code(code).ok_or_else(|| unknown("rounding", code))?.name().to_owned()),
    };
    let tier = |tier: proto::DraftTier| RawTier {
        up_to: (!tier.up_to.is_empty()).then_some(tier.up_to),
        unit_price: tier.unit_price,
    };
    Ok(RawPrice {
        meter: price.meter,
        currency: price.currency,
        billing_region: region,
        effective_from: from.to_string(),
        pricing_model,
        rounding,
        tiers: price.tiers.into_iter().map(tier).collect(),
    })
}

impl From<&ComparisonHeader> for proto::ComparisonHeader {
    fn from(header: &ComparisonHeader) -> Self {
        let [base, target] = header.sides.map(|side| Some(compared_side(side)));
        Self {
            organization_id: header.organization_id.to_string(),
            currency: header.currency.code().to_owned(),
            base,
            target,
        }
    }
}

fn compared_side(side: ComparedSide) -> proto::ComparedSide {
    proto::ComparedSide {
        month: Some(side.month.into()),
        as_of: Some(side.as_of.into()),
        state: bill_state(side.state).into(),
        statement_number: side.statement.map(|number| number.to_string()).unwrap_or_default(),
        draft: side.is_drafted,
    }
}

impl From<&ComparedLine> for proto::ComparedLine {
    fn from(line: &ComparedLine) -> Self {
        let [base_quantity, target_quantity] = line.quantities.each_ref().map(plain);
        // Costs show the currency's minor digits, so their zeros stay.
        let [base_cost, target_cost] =
            line.costs.each_ref().map(|cost| cost.as_ref().map(BigDecimal::to_plain_string).unwrap_or_default());
        Self {
            tenant_id: line.tenant.id.to_string(),
            tenant_name: line.tenant.name.clone(),
            plan: line.tenant.plan.clone(),
            meter_name: line.meter.name.clone(),
            meter_id: line.meter.id.to_string(),
            unit: line.meter.unit.clone(),
            billing_region: line.billing_region.code().into(),
            kind: line.kind as i32,
            base_quantity,
            target_quantity,
            base_cost,
            target_cost,
            usage_effect: plain(&line.effects.usage),
            price_effect: plain(&line.effects.price),
            rounding_effect: plain(&line.effects.rounding),
            base_unpriced: line.unpriced[0],
            target_unpriced: line.unpriced[1],
        }
    }
}

impl From<MovedAsset> for proto::MovedAsset {
    fn from(MovedAsset { tenant, asset, costs }: MovedAsset) -> Self {
        let difference = (&costs[1] - &costs[0]).to_plain_string();
        let [base_cost, target_cost] = costs.each_ref().map(BigDecimal::to_plain_string);
        Self {
            tenant_id: tenant.id.to_string(),
            tenant_name: tenant.name,
            asset_type: asset.asset_type.code().into(),
            asset_id: asset.id,
            asset_name: asset.name,
            base_cost,
            target_cost,
            difference,
        }
    }
}

impl From<&ComparisonSummary> for proto::ComparisonSummary {
    fn from(summary: &ComparisonSummary) -> Self {
        let [unchanged_count, changed_count, new_count, vanished_count] = summary.counts.map(u64::cast_signed);
        let [base_unpriced_count, target_unpriced_count] = summary.unpriced.map(u64::cast_signed);
        let [base_cost, target_cost] = summary.costs.each_ref().map(BigDecimal::to_plain_string);
        Self {
            unchanged_count,
            changed_count,
            new_count,
            vanished_count,
            base_cost,
            target_cost,
            usage_effect: plain(&summary.effects.usage),
            price_effect: plain(&summary.effects.price),
            rounding_effect: plain(&summary.effects.rounding),
            base_unpriced_count,
            target_unpriced_count,
            assets_left_out: 0,
        }
    }
}
