//! Comparisons as tables.

use super::{Pair, Sums, kind};
use crate::{
    cli::{
        CommandError,
        output::{Rows, note, region, say},
    },
    contract::proto::{ComparedLine, ComparisonKind, MovedAsset},
    model::AssetType,
};

/// Lines that are not unchanged, totals, and assets.
pub(super) fn print(pairs: &[Pair]) -> Result<(), CommandError> {
    let mut rows = Vec::new();
    for pair in pairs {
        let changed = pair.comparison.lines.iter().filter(|line| line.kind() != ComparisonKind::Unchanged);
        rows.extend(changed.map(|line| line_row(pair, line)));
    }
    rows.extend(pairs.iter().map(|pair| total_row(pair.months.clone(), &pair.sums(), &pair.currency)));
    if let [first, _, ..] = pairs {
        rows.push(total_row(Default::default(), &Sums::total(pairs), &first.currency));
    }
    let headers = vec![
        "BASE",
        "TARGET",
        "TENANT",
        "METER",
        "REGION",
        "CHANGE",
        "BASE QUANTITY",
        "TARGET QUANTITY",
        "UNIT",
        "BASE COST",
        "TARGET COST",
        "BY USAGE",
        "BY PRICE",
        "BY ROUNDING",
        "CURRENCY",
    ];
    Rows { headers, numbers: vec![6, 7, 9, 10, 11, 12, 13], rows }.print_table()?;
    print_assets(pairs)?;
    let unchanged: i64 = pairs.iter().map(|pair| pair.comparison.summary.unchanged_count).sum();
    if unchanged > 0 {
        note(&format!("{unchanged} lines are unchanged and not shown"));
    }
    Ok(())
}

fn line_row(pair: &Pair, line: &ComparedLine) -> Vec<String> {
    let cost = |cost: &String| if cost.is_empty() { "no price".to_owned() } else { cost.clone() };
    let [base_month, target_month] = pair.months.clone();
    vec![
        base_month,
        target_month,
        line.tenant_name.clone(),
        line.meter_name.clone(),
        region(line.billing_region).to_owned(),
        kind(line).to_lowercase(),
        line.base_quantity.clone(),
        line.target_quantity.clone(),
        line.unit.clone(),
        cost(&line.base_cost),
        cost(&line.target_cost),
        line.usage_effect.clone(),
        line.price_effect.clone(),
        line.rounding_effect.clone(),
        pair.currency.clone(),
    ]
}

fn total_row([base_month, target_month]: [String; 2], sums: &Sums, currency: &str) -> Vec<String> {
    let mut row = vec![base_month, target_month, "TOTAL".to_owned()];
    row.resize(9, String::new());
    row.extend(sums.texts());
    row.push(currency.to_owned());
    row
}

fn print_assets(pairs: &[Pair]) -> Result<(), CommandError> {
    if pairs.iter().all(|pair| pair.comparison.assets.is_empty()) {
        return Ok(());
    }
    let row = |pair: &Pair, asset: &MovedAsset| {
        let [base_month, target_month] = pair.months.clone();
        vec![
            base_month,
            target_month,
            asset.tenant_name.clone(),
            AssetType::name_of(asset.asset_type).unwrap_or("?").to_owned(),
            asset.asset_id.clone(),
            asset.asset_name.clone(),
            asset.base_cost.clone(),
            asset.target_cost.clone(),
            asset.difference.clone(),
            pair.currency.clone(),
        ]
    };
    let rows = pairs.iter().flat_map(|pair| pair.comparison.assets.iter().map(move |asset| row(pair, asset)));
    let headers =
        vec!["BASE", "TARGET", "TENANT", "TYPE", "ASSET", "NAME", "BASE COST", "TARGET COST", "DIFFERENCE", "CURRENCY"];
    say!("")?;
    Ok(Rows { headers, numbers: vec![6, 7, 8], rows: rows.collect() }.print_table()?)
}
