//! Pricings as they are stored: a row a tier.

use tokio_postgres::Row;

use super::StoreError;
use crate::{
    database::numeric::Numeric,
    model::{PriceTier, Pricing, PricingModel},
};

/// The columns of a pricing, of `price p JOIN price_tier t`.
pub(super) const PRICING_COLUMNS: &str = "p.price_id, p.pricing_model, p.rounding_mode, t.up_to, t.unit_price";

/// Rows of several prices by price; those of a price stand together.
pub(super) fn by_price(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let id = |row: &Row| row.try_get::<_, i64>("price_id").ok();
    rows.chunk_by(move |a, b| id(a) == id(b))
}

/// The pricing of a price, by its rows in the order of its tiers.
pub(super) fn from_rows(rows: &[Row]) -> Result<Pricing, StoreError> {
    let tiers = rows
        .iter()
        .map(|row| {
            let up_to: Option<Numeric> = row.try_get("up_to")?;
            let Numeric(unit_price) = row.try_get("unit_price")?;
            Ok(PriceTier { up_to: up_to.map(|Numeric(decimal)| decimal), unit_price })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let first = rows.first().ok_or_else(|| StoreError::corrupt("a price has no tiers"))?;
    let id: i64 = first.try_get("price_id")?;
    // Constraints keep tiers from gaps; that the last one has no end, and only that one, is up to whoever writes.
    if !tiers.iter().rev().enumerate().all(|(index, tier)| tier.up_to.is_none() == (index == 0)) {
        return Err(StoreError::corrupt(format!(
            "the tiers of price {id} do not end with the one tier without an end"
        )));
    }
    let unknown = |what: &str, name: &str| StoreError::corrupt(format!("price {id} has the {what} {name:?}"));
    let (model, rounding): (&str, &str) = (first.try_get("pricing_model")?, first.try_get("rounding_mode")?);
    Ok(Pricing {
        model: PricingModel::named(model, tiers).map_err(|_| unknown("pricing model", model))?,
        rounding: rounding.parse().map_err(|_| unknown("rounding mode", rounding))?,
    })
}
