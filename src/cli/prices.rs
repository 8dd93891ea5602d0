//! `prices`.

use serde_json::{Value, json};

use super::{
    CommandError,
    args::{Format, PricesArgs},
    output::{Rows, month, note, print_json, text_or_null, time},
    tenants::connect,
};
use crate::{
    client::PricesQuery,
    contract::proto::{Price, PriceTier},
    model::{BillingRegion, PricingModel, RoundingMode},
};

pub(super) async fn run(args: PricesArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let query = PricesQuery { month: args.month, currency: args.currency, meter_name: args.meter, as_of: args.as_of };
    let prices = client.prices(&query).await?;
    match args.format {
        Format::Table => print_table(&prices),
        Format::Csv => print_csv(&prices),
        Format::Json => Ok(print_json(&prices.iter().map(to_json).collect())?),
    }
}

/// A row for each tier; what its price says is in the row of the first.
fn print_table(prices: &[Price]) -> Result<(), CommandError> {
    let mut rows = Vec::new();
    for price in prices {
        let region = region(price).unwrap_or(if price.not_charged { "" } else { "all" });
        let mut first = vec![
            price.meter_name.clone(),
            region.to_owned(),
            price.currency.clone(),
            month(price.effective_from),
            "not charged".to_owned(),
            String::new(),
            price.unit.clone(),
            rounding(price).unwrap_or_default().to_owned(),
        ];
        let mut tiers = price.tiers.iter();
        if let Some(tier) = tiers.next() {
            first.splice(4..6, [span(tier), tier.unit_price.clone()]);
        }
        rows.push(first);
        rows.extend(tiers.map(|tier| {
            let mut row = vec![String::new(); 8];
            row.splice(4..6, [span(tier), tier.unit_price.clone()]);
            row
        }));
    }
    let headers = vec!["METER", "REGION", "CURRENCY", "SINCE", "TIER", "UNIT PRICE", "UNIT", "ROUNDING"];
    Rows { headers, numbers: vec![5], rows }.print_table()?;
    note(&format!("{} prices", prices.iter().filter(|price| !price.not_charged).count()));
    Ok(())
}

fn span(tier: &PriceTier) -> String {
    if tier.to.is_empty() { format!("above {}", tier.from) } else { format!("{} to {}", tier.from, tier.to) }
}

/// A row for each tier, and one for a meter that is not charged.
fn print_csv(prices: &[Price]) -> Result<(), CommandError> {
    let headers = vec![
        "meterName",
        "meterId",
        "unit",
        "notCharged",
        "currency",
        "billingRegion",
        "effectiveFrom",
        "pricingModel",
        "rounding",
        "from",
        "to",
        "unitPrice",
        "appliedAt",
    ];
    let none = [PriceTier::default()];
    let rows = prices.iter().flat_map(|price| {
        let tiers = if price.not_charged { none.as_slice() } else { &price.tiers };
        tiers.iter().map(|tier| {
            vec![
                price.meter_name.clone(),
                price.meter_id.clone(),
                price.unit.clone(),
                if price.not_charged { "TRUE" } else { "FALSE" }.to_owned(),
                price.currency.clone(),
                region(price).unwrap_or_default().to_owned(),
                month(price.effective_from),
                model(price).unwrap_or_default().to_owned(),
                rounding(price).unwrap_or_default().to_owned(),
                tier.from.clone(),
                tier.to.clone(),
                tier.unit_price.clone(),
                time(price.applied_at),
            ]
        })
    });
    Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
}

fn to_json(price: &Price) -> Value {
    json!({
        "meterName": price.meter_name,
        "meterId": price.meter_id,
        "unit": price.unit,
        "notCharged": price.not_charged,
        "currency": text_or_null(price.currency.clone()),
        "billingRegion": region(price),
        "effectiveFrom": text_or_null(month(price.effective_from)),
        "pricingModel": model(price),
        "rounding": rounding(price),
        "tiers": price.tiers.iter().map(|tier| json!({
            "from": tier.from,
            "to": text_or_null(tier.to.clone()),
            "unitPrice": tier.unit_price,
        })).collect::<Vec<_>>(),
        "appliedAt": text_or_null(time(price.applied_at)),
    })
}

/// `None`: every region.
fn region(price: &Price) -> Option<&'static str> {
    (price.billing_region != 0).then(|| BillingRegion::name_of(price.billing_region).unwrap_or("?"))
}

fn model(price: &Price) -> Option<&'static str> {
    (price.pricing_model != 0).then(|| PricingModel::name_of(price.pricing_model).unwrap_or("?"))
}

fn rounding(price: &Price) -> Option<&'static str> {
    (price.rounding != 0).then(|| RoundingMode::from_code(price.rounding).map_or("?", RoundingMode::name))
}
