//! `costs`.

use serde_json::{Value, json};

use super::{
    CommandError,
    args::{CostsArgs, Format},
    output::{Rows, month, note, print_json, text_or_null, time},
    tenants::connect,
};
use crate::{
    client::CostsQuery,
    contract::proto::{CostLine, CostTier, GetMonthlyCostsResponse},
    model::{BillingRegion, MonthRange, RoundingMode, printable},
};

pub(super) async fn run(args: CostsArgs) -> Result<(), CommandError> {
    let months =
        MonthRange::new(args.month, args.to.unwrap_or(args.month)).map_err(|error| format!("--to: {error}"))?;
    let mut client = connect(&args.server).await?;
    let tenant_id = match &args.tenant {
        Some(tenant) => Some(client.find_tenant(tenant).await?),
        None => None,
    };
    let query = CostsQuery { organization_id: args.organization, tenant_id, months, as_of: args.as_of };
    print(client.monthly_costs(&query).await?, args.format)
}

pub(super) fn print(costs: GetMonthlyCostsResponse, format: Format) -> Result<(), CommandError> {
    match format {
        Format::Table => print_table(&costs),
        Format::Csv => {
            warn_of_unpriced(&costs);
            print_csv(costs.lines)
        }
        Format::Json => Ok(print_json(&to_json(costs))?),
    }
}

fn print_table(costs: &GetMonthlyCostsResponse) -> Result<(), CommandError> {
    let mut rows: Vec<Vec<String>> = costs
        .lines
        .iter()
        .map(|line| {
            let cost = match line.cost.as_str() {
                _ if line.not_charged => "not charged",
                "" => "no price",
                cost => cost,
            };
            vec![
                month(line.month),
                line.tenant_name.clone(),
                line.meter_name.clone(),
                region(line.billing_region).to_owned(),
                line.quantity.clone(),
                line.trial_quantity.clone(),
                line.unit.clone(),
                cost.to_owned(),
                line.currency.clone(),
            ]
        })
        .collect();
    for total in &costs.totals {
        let mut row = vec![String::new(); 9];
        row[0] = month(total.month);
        row[1] = "TOTAL".to_owned();
        row[7] = total.cost.clone();
        row[8] = total.currency.clone();
        rows.push(row);
    }
    let headers = vec!["MONTH", "TENANT", "METER", "REGION", "QUANTITY", "TRIAL", "UNIT", "COST", "CURRENCY"];
    Rows { headers, numbers: vec![4, 5, 7], rows }.print_table()?;
    warn_of_unpriced(costs);
    Ok(())
}

/// Warns on standard error about usage that is not in the totals.
fn warn_of_unpriced(costs: &GetMonthlyCostsResponse) {
    for unpriced in &costs.unpriced_meters {
        note(&format!(
            "warning: no price in {} covers {} of {} in {} ({}, tenant {}); it is not in the total",
            printable(&unpriced.currency),
            unpriced.quantity,
            printable(&unpriced.meter_name),
            region(unpriced.billing_region),
            month(unpriced.month),
            unpriced.tenant_id
        ));
    }
}

fn print_csv(lines: Vec<CostLine>) -> Result<(), CommandError> {
    let headers = vec![
        "month",
        "organizationId",
        "tenantId",
        "tenantName",
        "plan",
        "meterName",
        "meterId",
        "unit",
        "billingRegion",
        "quantity",
        "trialQuantity",
        "cost",
        "currency",
        "recordCount",
    ];
    let rows = lines.into_iter().map(|line| {
        vec![
            month(line.month),
            line.organization_id,
            line.tenant_id,
            line.tenant_name,
            line.plan,
            line.meter_name,
            line.meter_id,
            line.unit,
            region(line.billing_region).to_owned(),
            line.quantity,
            line.trial_quantity,
            line.cost,
            line.currency,
            line.record_count.to_string(),
        ]
    });
    Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
}

fn to_json(costs: GetMonthlyCostsResponse) -> Value {
    json!({
        "lines": costs.lines.into_iter().map(line_to_json).collect::<Vec<_>>(),
        "totals": costs.totals.into_iter().map(|total| json!({
            "month": month(total.month),
            "currency": total.currency,
            "cost": total.cost,
        })).collect::<Vec<_>>(),
        "tenantMonths": costs.tenant_months.into_iter().map(|report| json!({
            "month": month(report.month),
            "tenantId": report.tenant_id,
            "revision": report.revision,
            "dataAsOf": text_or_null(time(report.data_as_of)),
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

fn region(code: i32) -> &'static str {
    BillingRegion::from_code(code).map_or("?", BillingRegion::as_str)
}
