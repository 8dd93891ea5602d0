//! `costs`.

pub(super) mod csv;
mod focus;
mod json;
mod table;

use serde_json::{Value, json};

use super::{
    CommandError,
    args::{CostsArgs, CostsFormat},
    breakdown,
    output::{JsonArray, Rows, days, month, note, print_json, region, say},
    report_form::FileFormat,
    tenants::connect,
    text_columns,
};
use crate::{
    client::{BreakdownQuery, Client, CostsQuery},
    contract::{
        CsvFormat,
        proto::{GetMonthlyCostsResponse, Organization},
    },
    model::{BillSubject, MonthRange, OrganizationId, TenantId, printable},
};
use focus::Focus;

/// How lines are written as columns.
#[derive(Clone, Copy)]
struct Columns {
    csv: CsvFormat,
    with_tiers: bool,
}

pub(super) async fn run(args: CostsArgs) -> Result<(), CommandError> {
    let months =
        MonthRange::new(args.month, args.to.unwrap_or(args.month)).map_err(|error| format!("--to: {error}"))?;
    if let Some(focus) = Focus::of(&args)? {
        return focus.print(&mut connect(&args.server).await?, &args, months).await;
    }
    if args.breakdown.tiers && args.format.columns().is_none() {
        return Err("--tiers needs --format csv, parquet, arrow or jsonl; --format json shows tiers without it".into());
    }
    let columns = Columns { csv: args.breakdown.csv_format(), with_tiers: args.breakdown.tiers };
    if columns.csv.neutralize_formulas && !matches!(args.format, CostsFormat::Csv) && args.format.columns().is_some() {
        return Err("--neutralize-formulas is of CSV".into());
    }
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
        return print_all(&mut client, |organization| query(organization, None), args.format, columns).await;
    };
    let (organization, tenant) = find(&mut client, organization, args.tenant.as_deref()).await?;
    let query_of_bill = query(organization, tenant);
    if let Some((groups, filter)) = parts {
        let subject = BillSubject::Organization(organization, tenant);
        let query = BreakdownQuery { subject, months, groups, filter, as_of: args.as_of, current: args.current };
        breakdown::print(client.cost_breakdown(&query).await?, groups, args.format, columns.csv).await?;
        if !args.current {
            // What was asked for is printed, whatever becomes of this.
            match client.monthly_costs(&query_of_bill).await {
                Ok(costs) => note_adjustments(&costs),
                Err(error) => note(&format!("warning: it is not known whether these bills have adjustments: {error}")),
            }
        }
        return Ok(());
    }
    let costs = client.monthly_costs(&query_of_bill).await?;
    match (args.format, args.format.columns()) {
        (CostsFormat::Json, _) => Ok(print_json(&json::to_json(costs))?),
        (_, Some(format)) => {
            warn_of_gaps(&costs);
            columns.print(&csv::rows(costs, columns.with_tiers), format, true).await
        }
        (_, None) => print_table(&costs),
    }
}

/// Whose bill is asked for.
async fn find(
    client: &mut Client,
    organization: &str,
    tenant: Option<&str>,
) -> Result<(OrganizationId, Option<TenantId>), CommandError> {
    let organization = client.find_organization(organization).await?;
    let tenant = match tenant {
        Some(tenant) => Some(client.find_tenant_of(organization, tenant).await?),
        None => None,
    };
    Ok((organization, tenant))
}

/// Of each organization that the caller may see. One bill at a time is in memory, but for forms that need all of them.
async fn print_all(
    client: &mut Client,
    query: impl Fn(OrganizationId) -> CostsQuery,
    format: CostsFormat,
    columns: Columns,
) -> Result<(), CommandError> {
    let organizations = client.organizations().await?;
    let mut json = JsonArray::default();
    // Of forms that have the number of their rows, or the digits of their numbers, before them.
    let mut all = csv::rows(GetMonthlyCostsResponse::default(), columns.with_tiers);
    for (index, organization) in organizations.iter().enumerate() {
        let id = organization.organization_id.parse()?;
        let costs = client.monthly_costs(&query(id)).await?;
        match format {
            CostsFormat::Csv | CostsFormat::Jsonl => {
                warn_of_gaps(&costs);
                let format = if format == CostsFormat::Csv { FileFormat::Csv } else { FileFormat::Jsonl };
                columns.print(&csv::rows(costs, columns.with_tiers), format, index == 0).await?;
            }
            CostsFormat::Parquet | CostsFormat::Arrow => {
                warn_of_gaps(&costs);
                all.rows.extend(csv::rows(costs, columns.with_tiers).rows);
            }
            CostsFormat::Json => {
                let mut bill = json!({
                    "organizationId": organization.organization_id,
                    "organizationName": organization.name,
                    "currency": organization.currency,
                });
                if let (Value::Object(bill), Value::Object(costs)) = (&mut bill, json::to_json(costs)) {
                    bill.extend(costs);
                }
                json.print(&bill)?;
            }
            _ => {
                let Organization { name, organization_id, currency } = organization;
                let line = if index == 0 { "" } else { "\n" };
                say!("{line}{} ({organization_id}), in {}", printable(name), printable(currency))?;
                print_table(&costs)?;
            }
        }
    }
    match (format, format.columns()) {
        (CostsFormat::Table, _) => {
            note(&format!("{} organizations", organizations.len()));
            Ok(())
        }
        (CostsFormat::Json, _) => Ok(json.end()?),
        (CostsFormat::Parquet | CostsFormat::Arrow, Some(format)) => columns.print(&all, format, true).await,
        (_, Some(format)) if organizations.is_empty() => columns.print(&all, format, true).await,
        _ => Ok(()),
    }
}

// === impl Columns ===

impl Columns {
    async fn print(self, rows: &Rows, format: FileFormat, has_header: bool) -> Result<(), CommandError> {
        match format {
            FileFormat::Csv => Ok(rows.print_csv_part(self.csv, has_header)?),
            format => text_columns::print(rows, format).await,
        }
    }
}

fn print_table(costs: &GetMonthlyCostsResponse) -> Result<(), CommandError> {
    table::print(costs)?;
    warn_of_gaps(costs);
    Ok(())
}

/// Says what is on bills besides lines: their parts do not add up to what is due.
fn note_adjustments(costs: &GetMonthlyCostsResponse) {
    for total in &costs.totals {
        if costs.adjustments.iter().any(|adjustment| adjustment.billing_month == total.month) {
            note(&format!(
                "note: the bill of {} has adjustments of {} {} besides, which are not shared; `costs` without --by lists them",
                month(total.month),
                total.adjustment,
                printable(&total.currency)
            ));
        }
    }
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
