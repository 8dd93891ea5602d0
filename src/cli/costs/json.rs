//! Costs as JSON.

use serde_json::{Value, json};

use crate::{
    cli::output::{bill_state, month, region, text_or_null, time},
    contract::proto::{CostLine, CostTier, GetMonthlyCostsResponse},
    model::RoundingMode,
};

pub(super) fn to_json(costs: GetMonthlyCostsResponse) -> Value {
    json!({
        "lines": costs.lines.into_iter().map(line_to_json).collect::<Vec<_>>(),
        "adjustments": costs.adjustments.into_iter().map(|adjustment| json!({
            "billingMonth": month(adjustment.billing_month),
            "line": line_to_json(adjustment.line.unwrap_or_default()),
            "billed": adjustment.billed,
            "amount": adjustment.amount,
            "revision": adjustment.revision,
        })).collect::<Vec<_>>(),
        "totals": costs.totals.into_iter().map(|total| json!({
            "month": month(total.month),
            "currency": total.currency,
            "cost": total.cost,
            "adjustment": total.adjustment,
            "amountDue": total.amount_due,
            "state": bill_state(total.state()),
            "statementNumber": text_or_null(total.statement_number),
        })).collect::<Vec<_>>(),
        "tenantMonths": costs.tenant_months.into_iter().map(|report| json!({
            "month": month(report.month),
            "tenantId": report.tenant_id,
            "revision": report.revision,
            "dataAsOf": text_or_null(time(report.data_as_of)),
            "missingDays": report.missing_days.into_iter().map(|missing| json!({
                "source": missing.source,
                "days": missing.days,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "unpricedMeters": costs.unpriced_meters.into_iter().map(|unpriced| json!({
            "month": month(unpriced.month),
            "tenantId": unpriced.tenant_id,
            "meterName": unpriced.meter_name,
            "meterId": unpriced.meter_id,
            "billingRegion": region(unpriced.billing_region),
            "currency": unpriced.currency,
            "quantity": unpriced.quantity,
        })).collect::<Vec<_>>(),
    })
}

fn line_to_json(line: CostLine) -> Value {
    json!({
        "month": month(line.month),
        "organizationId": line.organization_id,
        "tenantId": line.tenant_id,
        "tenantName": line.tenant_name,
        "plan": line.plan,
        "meterName": line.meter_name,
        "meterId": line.meter_id,
        "unit": line.unit,
        "billingRegion": region(line.billing_region),
        "quantity": line.quantity,
        "trialQuantity": line.trial_quantity,
        "tiers": line.tiers.into_iter().map(tier_to_json).collect::<Vec<_>>(),
        "notCharged": line.not_charged,
        "cost": text_or_null(line.cost),
        "rounding": RoundingMode::from_code(line.rounding).map(RoundingMode::name),
        "currency": line.currency,
        "recordCount": line.record_count,
    })
}

fn tier_to_json(tier: CostTier) -> Value {
    json!({
        "from": tier.from,
        "to": text_or_null(tier.to),
        "quantity": tier.quantity,
        "unitPrice": tier.unit_price,
        "amount": tier.amount,
    })
}
