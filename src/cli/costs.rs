//! `costs`.

use serde_json::{Value, json};

use super::{
    CommandError,
    args::{CostsArgs, Format},
    breakdown,
    output::{JsonArray, Rows, bill_state, days, month, note, print_json, say, text_or_null, time},
    tenants::connect,
};
use crate::{
    client::{BreakdownQuery, Client, CostsQuery},
    contract::{
        CsvFormat,
        proto::{BillState, CostLine, CostTier, GetMonthlyCostsResponse, Organization},
    },
    model::{BillSubject, BillingRegion, MonthRange, OrganizationId, RoundingMode, printable},
};

#[derive(Clone, Copy)]
struct CsvOptions {
    format: CsvFormat,
    with_tiers: bool,
}

pub(super) async fn run(args: CostsArgs) -> Result<(), CommandError> {
    let months =
        MonthRange::new(args.month, args.to.unwrap_or(args.month)).map_err(|error| format!("--to: {error}"))?;
    if args.breakdown.tiers && args.format != Format::Csv {
        return Err("--tiers needs --format csv; --format json shows tiers without it".into());
    }
    let csv = CsvOptions { format: args.breakdown.csv_format(), with_tiers: args.breakdown.tiers };
    let parts = args.breakdown.breakdown()?;
    let mut client = connect(&args.server).await?;
    let query = |organization_id, tenant_id| CostsQuery {
        organization_id,
        tenant_id,
        months,
        as_of: args.as_of,
        current: args.current,
    };
    let Some(organization) = &args.organization else {
        return print_all(&mut client, |organization| query(organization, None), args.format, csv).await;
    };
    let organization = client.find_organization(organization).await?;
    let tenant = match &args.tenant {
        Some(tenant) => Some(client.find_tenant_of(organization, tenant).await?),
        None => None,
    };
    if let Some((groups, filter)) = parts {
        let subject = BillSubject::Organization(organization, tenant);
        let query = BreakdownQuery { subject, months, groups, filter, as_of: args.as_of, current: args.current };
        return breakdown::print(client.cost_breakdown(&query).await?, groups, args.format, csv.format).await;
    }
    let costs = client.monthly_costs(&query(organization, tenant)).await?;
    match args.format {
        Format::Table => print_table(&costs),
        Format::Csv => print_csv(costs, csv, true),
        Format::Json => Ok(print_json(&to_json(costs))?),
    }
}

/// Of each organization that the caller may see. One bill at a time is in memory.
async fn print_all(
    client: &mut Client,
    query: impl Fn(OrganizationId) -> CostsQuery,
    format: Format,
    csv: CsvOptions,
) -> Result<(), CommandError> {
    let organizations = client.organizations().await?;
    let mut json = JsonArray::default();
    for (index, organization) in organizations.iter().enumerate() {
        let id = organization.organization_id.parse()?;
        let costs = client.monthly_costs(&query(id)).await?;
        match format {
            Format::Table => {
                let Organization { name, organization_id, currency } = organization;
                let line = if index == 0 { "" } else { "\n" };
                say!("{line}{} ({organization_id}), in {}", printable(name), printable(currency))?;
                print_table(&costs)?;
            }
            Format::Csv => print_csv(costs, csv, index == 0)?,
            Format::Json => {
                let mut bill = json!({
                    "organizationId": organization.organization_id,
                    "organizationName": organization.name,
                    "currency": organization.currency,
                });
                if let (Value::Object(bill), Value::Object(costs)) = (&mut bill, to_json(costs)) {
                    bill.extend(costs);
                }
                json.print(&bill)?;
            }
        }
    }
    match format {
        Format::Table => {
            note(&format!("{} organizations", organizations.len()));
            Ok(())
        }
        Format::Csv if organizations.is_empty() => print_csv(GetMonthlyCostsResponse::default(), csv, true),
        Format::Csv => Ok(()),
        Format::Json => Ok(json.end()?),
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
    print_adjustments(costs)?;
    warn_of_gaps(costs);
    Ok(())
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

/// Warns on standard error about usage that is not in the totals, or is perhaps still to come.
fn warn_of_gaps(costs: &GetMonthlyCostsResponse) {
    const SHOWN: usize = 10;
    let missing =
        || costs.tenant_months.iter().flat_map(|report| report.missing_days.iter().map(move |days| (report, days)));
    for (report, missing) in missing().take(SHOWN) {
        note(&format!(
            "warning: {} has not delivered {} for tenant {}",
            printable(&missing.source),
            days(&missing.days),
            report.tenant_id
        ));
    }
    let more = missing().count().saturating_sub(SHOWN);
    if more > 0 {
        note(&format!("warning: days are missing of {more} tenants and sources more"));
    }
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

/// Adjustments come behind the lines: `month` is that of the usage, and `amount` is what the bill of `billingMonth` has of it.
fn print_csv(costs: GetMonthlyCostsResponse, csv: CsvOptions, has_header: bool) -> Result<(), CommandError> {
    warn_of_gaps(&costs);
    let mut headers = CSV_HEADERS.to_vec();
    headers.extend(CSV_BILL_HEADERS);
    if csv.with_tiers {
        headers.extend(CSV_TIER_HEADERS);
    }
    let lines = costs.lines.into_iter().map(|line| (line.month, line.cost.clone(), line));
    let adjustments = costs
        .adjustments
        .into_iter()
        .map(|adjustment| (adjustment.billing_month, adjustment.amount, adjustment.line.unwrap_or_default()));
    let rows = lines.chain(adjustments).flat_map(|(billing_month, amount, mut line)| {
        let tiers = std::mem::take(&mut line.tiers);
        let mut row = csv_row(line);
        row.extend([month(billing_month), amount]);
        if csv.with_tiers { csv_tier_rows(&row, tiers) } else { vec![row] }
    });
    Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv_part(csv.format, has_header)?)
}

/// The columns of a line.
pub(super) const CSV_HEADERS: [&str; 14] = [
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

/// Behind them, those of a tier.
const CSV_TIER_HEADERS: [&str; 5] = ["tierFrom", "tierTo", "tierQuantity", "unitPrice", "tierAmount"];

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
fn csv_tier_rows(row: &[String], tiers: Vec<CostTier>) -> Vec<Vec<String>> {
    let with = |cells: [String; CSV_TIER_HEADERS.len()]| row.iter().cloned().chain(cells).collect();
    if tiers.is_empty() {
        return vec![with(Default::default())];
    }
    let cells = tiers.into_iter().map(|tier| [tier.from, tier.to, tier.quantity, tier.unit_price, tier.amount]);
    cells.map(with).collect()
}

fn to_json(costs: GetMonthlyCostsResponse) -> Value {
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

pub(super) fn region(code: i32) -> &'static str {
    BillingRegion::from_code(code).map_or("?", BillingRegion::as_str)
}
