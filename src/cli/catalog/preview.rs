//! `catalog apply --preview`.

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;

use super::tell;
use crate::{
    auth::TenantScope,
    catalog::{Catalog, PriceListDraft},
    cli::{
        CommandError,
        args::PreviewMonths,
        output::{Rows, note, say},
    },
    model::{Currency, Month, printable},
    reports::{BillState, MovedLine, MovedMonth, Preview},
    store::{CatalogChanges, Store, StoreConfig},
};

/// Shows what applying a catalog, which can be applied, would do to bills.
pub(super) async fn show(
    config: &StoreConfig,
    catalog: &Catalog,
    changes: CatalogChanges,
    months: PreviewMonths,
) -> Result<(), CommandError> {
    note("note: nothing is stored; this is what the file would do");
    tell(changes)?;
    let store = Store::new(config)?;
    let present = Month::of(store.present().await?.as_chrono().date_naive()).ok_or("it is no month of the calendar")?;
    let months = months.range(present);
    let priced: BTreeMap<&str, Currency> =
        catalog.prices.iter().map(|price| (price.currency.code(), price.currency)).collect();
    let priced: Vec<Currency> = priced.into_values().collect();
    // Whether meters are charged is a matter of every currency.
    let currencies = (changes.meters.updated == 0).then_some(priced.as_slice());
    let draft = PriceListDraft::from(catalog);
    let preview = Preview::read(&store, &TenantScope::operator(), &draft, currencies, months).await?;
    print_months(&preview.months)?;
    print_lines(&preview.lines)?;
    warn(&preview);
    note(&format!(
        "{} to {}: {} months of organizations would cost something else, {} the same",
        months.start(),
        months.end(),
        preview.months.len(),
        preview.unchanged
    ));
    Ok(())
}

/// A row for each month of an organization, and one for each currency.
fn print_months(months: &[MovedMonth]) -> Result<(), CommandError> {
    if months.is_empty() {
        return Ok(());
    }
    let mut sums: BTreeMap<&str, [BigDecimal; 2]> = BTreeMap::new();
    let mut rows = Vec::with_capacity(months.len());
    for moved in months {
        let sum = sums.entry(moved.currency.code()).or_default();
        sum.iter_mut().zip(&moved.costs).for_each(|(sum, cost)| *sum += cost);
        let state = match moved.state {
            BillState::Open => "open",
            BillState::Closed => "closed",
        };
        let first = [moved.organization_name.clone(), moved.month.to_string(), state.to_owned()];
        rows.push(month_row(first, &moved.costs, moved.currency.code()));
    }
    for (currency, sum) in sums {
        rows.push(month_row(["TOTAL".to_owned(), String::new(), String::new()], &sum, currency));
    }
    let headers = vec!["ORGANIZATION", "MONTH", "STATE", "COSTS NOW", "WITH THE FILE", "DIFFERENCE", "CURRENCY"];
    say!("")?;
    Ok(Rows { headers, numbers: vec![3, 4, 5], rows }.print_table()?)
}

fn month_row(first: [String; 3], [now, then]: &[BigDecimal; 2], currency: &str) -> Vec<String> {
    let mut row = Vec::from(first);
    row.extend([now, then, &(then - now)].map(BigDecimal::to_plain_string));
    row.push(currency.to_owned());
    row
}

/// The lines that would move most.
fn print_lines(lines: &[MovedLine]) -> Result<(), CommandError> {
    if lines.is_empty() {
        return Ok(());
    }
    let rows = lines.iter().map(|moved| {
        let line = &moved.line;
        let [now, then] = line.costs.each_ref().map(|cost| match cost {
            Some(cost) => cost.to_plain_string(),
            None => "no price".to_owned(),
        });
        vec![
            moved.organization_name.clone(),
            line.tenant.name.clone(),
            moved.month.to_string(),
            line.meter.name.clone(),
            line.billing_region.as_str().to_owned(),
            now,
            then,
            line.difference().to_plain_string(),
            moved.currency.code().to_owned(),
        ]
    });
    let headers = vec![
        "ORGANIZATION",
        "TENANT",
        "MONTH",
        "METER",
        "REGION",
        "COSTS NOW",
        "WITH THE FILE",
        "DIFFERENCE",
        "CURRENCY",
    ];
    say!("\nThe lines that would move most:")?;
    Ok(Rows { headers, numbers: vec![5, 6, 7], rows: rows.collect() }.print_table()?)
}

/// Says what would have no price, and which bills stay.
fn warn(preview: &Preview) {
    for moved in &preview.unpriced {
        let line = &moved.line;
        note(&format!(
            "warning: no price in {} would cover {} in {} any more ({}, tenant {} of {})",
            moved.currency,
            printable(&line.meter.name),
            line.billing_region,
            moved.month,
            printable(&line.tenant.name),
            printable(&moved.organization_name)
        ));
    }
    let more = preview.unpriced_count.saturating_sub(preview.unpriced.len());
    if more > 0 {
        note(&format!("warning: {more} lines more would have no price"));
    }
    let closed = || preview.months.iter().filter(|moved| moved.state == BillState::Closed);
    let organizations: BTreeSet<_> = closed().map(|moved| moved.organization).collect();
    if !organizations.is_empty() {
        note(&format!(
            "note: {} of these months are closed, of {} organizations: their statements stay, and adjustments follow on the bills of \
             their first open months",
            closed().count(),
            organizations.len()
        ));
    }
}
