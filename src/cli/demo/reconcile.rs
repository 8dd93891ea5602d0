//! The promise, checked from outside: what the CSV file adds up to is what the bill says. Nothing of the service is used
//! for adding up.

use std::{collections::BTreeMap, path::Path};

use bigdecimal::BigDecimal;

use crate::{
    cli::{CommandError, output::say},
    client::{Client, ClientConfig, CostsQuery},
    model::{BillingRegion, Month, MonthRange},
};

/// Per meter and region: billable and trial quantity, and rows.
type Sums = BTreeMap<(String, String), (BigDecimal, BigDecimal, i64)>;

/// Compares a downloaded report with the costs.
pub(super) async fn check(
    server: &ClientConfig,
    organization: &str,
    tenant: &str,
    month: &str,
    report: &Path,
    expected_rows: u64,
) -> Result<(), CommandError> {
    let mut client = Client::connect(server).await?;
    let tenant_id = client.find_tenant(tenant).await?;
    let month: Month = month.parse()?;
    let query = CostsQuery {
        organization_id: organization.parse()?,
        tenant_id: Some(tenant_id),
        months: MonthRange::new(month, month)?,
        as_of: None,
        current: false,
    };
    let costs = client.monthly_costs(&query).await?;
    let sums = add_up(report)?;
    let mut billed = Sums::new();
    for line in &costs.lines {
        let region = BillingRegion::from_code(line.billing_region).map_or("?", BillingRegion::as_str);
        let value = (line.quantity.parse()?, line.trial_quantity.parse()?, line.record_count);
        billed.insert((line.meter_name.clone(), region.to_owned()), value);
    }
    if sums != billed {
        return Err(
            format!("{tenant} {month}: the detail does not reconcile with the bill:\n{sums:?}\n{billed:?}").into()
        );
    }
    let rows: i64 = sums.values().map(|(.., rows)| rows).sum();
    if rows.cast_unsigned() != expected_rows {
        return Err(format!("{tenant} {month}: {rows} rows were downloaded, but {expected_rows} were imported").into());
    }
    let total = costs.totals.first().map(|total| format!("{} {}", total.cost, total.currency));
    say!(
        "{tenant} {month}: {rows} rows add up to all {} lines of the bill, exactly: {}",
        billed.len(),
        total.unwrap_or_default()
    )?;
    let revision = costs.tenant_months.first().map(|report| report.revision.as_str()).unwrap_or_default();
    say!("  revision {} of {}", revision, tenant)?;
    Ok(())
}

fn add_up(report: &Path) -> Result<Sums, CommandError> {
    let mut reader = csv::Reader::from_path(report)?;
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header == name);
        found.ok_or_else(|| format!("{}: no column {name}", report.display()))
    };
    let (meter, region) = (column("meterName")?, column("billingRegion")?);
    let (quantity, trial) = (column("quantity")?, column("trial")?);
    let mut sums = Sums::new();
    for row in reader.records() {
        let row = row?;
        let (billable, on_trial, rows) = sums.entry((row[meter].to_owned(), row[region].to_owned())).or_default();
        let sum = if &row[trial] == "TRUE" { on_trial } else { billable };
        *sum += row[quantity].parse::<BigDecimal>()?;
        *rows += 1;
    }
    Ok(sums)
}
