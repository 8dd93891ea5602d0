//! Costs as a table.

use crate::{
    cli::{
        CommandError,
        output::{Rows, month, region, say},
    },
    contract::proto::{BillState, GetMonthlyCostsResponse},
};

pub(super) fn print(costs: &GetMonthlyCostsResponse) -> Result<(), CommandError> {
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
        if total.state() == BillState::Closed {
            let number = Some(&total.statement_number).filter(|number| !number.is_empty());
            row[2] = number.map_or_else(|| "closed".to_owned(), |number| format!("statement {number}"));
        }
        rows.push(row);
        if costs.adjustments.iter().any(|adjustment| adjustment.billing_month == total.month) {
            for (name, amount) in [("ADJUSTMENTS", &total.adjustment), ("AMOUNT DUE", &total.amount_due)] {
                let mut row = vec![String::new(); 9];
                row[0] = month(total.month);
                row[1] = name.to_owned();
                row[7].clone_from(amount);
                row[8].clone_from(&total.currency);
                rows.push(row);
            }
        }
    }
    let headers = vec!["MONTH", "TENANT", "METER", "REGION", "QUANTITY", "TRIAL", "UNIT", "COST", "CURRENCY"];
    Rows { headers, numbers: vec![4, 5, 7], rows }.print_table()?;
    print_adjustments(costs)
}

fn print_adjustments(costs: &GetMonthlyCostsResponse) -> Result<(), CommandError> {
    if costs.adjustments.is_empty() {
        return Ok(());
    }
    let rows = costs.adjustments.iter().map(|adjustment| {
        let line = adjustment.line.clone().unwrap_or_default();
        vec![
            month(adjustment.billing_month),
            month(line.month),
            line.tenant_name,
            line.meter_name,
            region(line.billing_region).to_owned(),
            line.quantity,
            line.cost,
            adjustment.billed.clone(),
            adjustment.amount.clone(),
            line.currency,
        ]
    });
    let headers = vec![
        "ON BILL OF",
        "USAGE OF",
        "TENANT",
        "METER",
        "REGION",
        "QUANTITY",
        "COSTS NOW",
        "BILLED",
        "ADJUSTMENT",
        "CURRENCY",
    ];
    say!("")?;
    Ok(Rows { headers, numbers: vec![5, 6, 7, 8], rows: rows.collect() }.print_table()?)
}
