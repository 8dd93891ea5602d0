//! Comparisons as JSON.

use serde_json::{Value, json};

use super::{Pair, Sums, kind};
use crate::{
    cli::output::{bill_state, region, text_or_null, time},
    contract::proto::{ComparedLine, ComparedSide, MovedAsset},
    model::{AssetType, OrganizationId},
};

/// Lines and assets say which months they are of.
pub(super) fn to_json(organization: OrganizationId, pairs: &[Pair]) -> Value {
    let lines = pairs.iter().flat_map(|pair| pair.comparison.lines.iter().map(move |line| line_to_json(pair, line)));
    let assets =
        pairs.iter().flat_map(|pair| pair.comparison.assets.iter().map(move |asset| asset_to_json(pair, asset)));
    let [base_cost, target_cost, usage_effect, price_effect, rounding_effect] = Sums::total(pairs).texts();
    json!({
        "organizationId": organization.to_string(),
        "lines": lines.collect::<Vec<_>>(),
        "assets": assets.collect::<Vec<_>>(),
        "totals": pairs.iter().map(total_to_json).collect::<Vec<_>>(),
        "total": {
            "baseCost": base_cost,
            "targetCost": target_cost,
            "usageEffect": usage_effect,
            "priceEffect": price_effect,
            "roundingEffect": rounding_effect,
            "currency": pairs.first().map(|pair| pair.currency.clone()),
        },
    })
}

fn line_to_json(pair: &Pair, line: &ComparedLine) -> Value {
    json!({
        "baseMonth": pair.months[0],
        "targetMonth": pair.months[1],
        "tenantId": line.tenant_id,
        "tenantName": line.tenant_name,
        "plan": line.plan,
        "meterName": line.meter_name,
        "meterId": line.meter_id,
        "unit": line.unit,
        "billingRegion": region(line.billing_region),
        "kind": kind(line),
        "baseQuantity": line.base_quantity,
        "targetQuantity": line.target_quantity,
        "baseCost": text_or_null(line.base_cost.clone()),
        "targetCost": text_or_null(line.target_cost.clone()),
        "usageEffect": line.usage_effect,
        "priceEffect": line.price_effect,
        "roundingEffect": line.rounding_effect,
        "baseUnpriced": line.base_unpriced,
        "targetUnpriced": line.target_unpriced,
        "currency": pair.currency,
    })
}

fn asset_to_json(pair: &Pair, asset: &MovedAsset) -> Value {
    json!({
        "baseMonth": pair.months[0],
        "targetMonth": pair.months[1],
        "tenantId": asset.tenant_id,
        "tenantName": asset.tenant_name,
        "assetType": AssetType::name_of(asset.asset_type).unwrap_or("?"),
        "assetId": asset.asset_id,
        "assetName": asset.asset_name,
        "baseCost": asset.base_cost,
        "targetCost": asset.target_cost,
        "difference": asset.difference,
        "currency": pair.currency,
    })
}

fn total_to_json(pair: &Pair) -> Value {
    let summary = &pair.comparison.summary;
    let [base, target] = pair.sides().map(side_to_json);
    json!({
        "base": base,
        "target": target,
        "unchangedCount": summary.unchanged_count,
        "changedCount": summary.changed_count,
        "newCount": summary.new_count,
        "vanishedCount": summary.vanished_count,
        "baseCost": summary.base_cost,
        "targetCost": summary.target_cost,
        "usageEffect": summary.usage_effect,
        "priceEffect": summary.price_effect,
        "roundingEffect": summary.rounding_effect,
        "baseUnpricedCount": summary.base_unpriced_count,
        "targetUnpricedCount": summary.target_unpriced_count,
        "currency": pair.currency,
    })
}

fn side_to_json(side: ComparedSide) -> Value {
    json!({
        "month": crate::cli::output::month(side.month),
        "asOf": time(side.as_of),
        "state": bill_state(side.state()),
        "statementNumber": text_or_null(side.statement_number),
        "draft": side.draft,
    })
}
