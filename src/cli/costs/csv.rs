//! Costs as lines of CSV, which other forms have, too.

use crate::{
    cli::output::{Rows, month, region},
    contract::proto::{CostLine, CostTier, GetMonthlyCostsResponse},
    model::RoundingMode,
};

/// The lines of costs. Adjustments come behind them: `month` is that of the usage, and `amount` is what the bill of `billingMonth`
/// has of it.
pub(super) fn rows(costs: GetMonthlyCostsResponse, with_tiers: bool) -> Rows {
    let mut headers = CSV_HEADERS.to_vec();
    headers.extend(CSV_BILL_HEADERS);
    if with_tiers {
        headers.extend(CSV_TIER_HEADERS);
    }
    let lines = costs.lines.into_iter().map(|line| (line.month, line.cost.clone(), line));
    let adjustments = costs
        .adjustments
        .into_iter()
        .map(|adjustment| (adjustment.billing_month, adjustment.amount, adjustment.line.unwrap_or_default()));
    let rows = lines.chain(adjustments).flat_map(|(billing_month, amount, mut line)| {
        let tiers = std::mem::take(&mut line.tiers);
        let rounding = RoundingMode::from_code(line.rounding).map_or("", RoundingMode::name);
        let mut row = csv_row(line);
        row.extend([month(billing_month), amount]);
        if with_tiers { csv_tier_rows(&row, tiers, rounding) } else { vec![row] }
    });
    Rows { headers, numbers: Vec::new(), rows: rows.collect() }
}

/// The columns of a line.
pub(in crate::cli) const CSV_HEADERS: [&str; 14] = [
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

/// Behind them, on whose bill it is, and what that bill has of it.
const CSV_BILL_HEADERS: [&str; 2] = ["billingMonth", "amount"];

/// Behind them, those of a tier, and how their sum is rounded.
const CSV_TIER_HEADERS: [&str; 6] = ["tierFrom", "tierTo", "tierQuantity", "unitPrice", "tierAmount", "rounding"];

fn csv_row(line: CostLine) -> Vec<String> {
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
}

/// A row for each tier, or one where there is none.
fn csv_tier_rows(row: &[String], tiers: Vec<CostTier>, rounding: &str) -> Vec<Vec<String>> {
    let with = |cells: [String; CSV_TIER_HEADERS.len()]| row.iter().cloned().chain(cells).collect();
    if tiers.is_empty() {
        return vec![with(Default::default())];
    }
    let cells = tiers.into_iter().map(|CostTier { from, to, quantity, unit_price, amount }| {
        [from, to, quantity, unit_price, amount, rounding.to_owned()]
    });
    cells.map(with).collect()
}
