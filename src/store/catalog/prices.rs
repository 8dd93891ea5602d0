//! Prices: never updated, but superseded, so that a past bill can be shown again.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use tokio_postgres::Transaction;

use super::changes::{CatalogError, Changes};
use crate::{
    catalog::{Price, Problem},
    database::{Statements as _, numeric::Numeric},
    model::{Decimal, Pricing},
    store::{
        StoreError, clock,
        pricing::{self, PRICING_COLUMNS},
    },
};

/// What a price is for: meter, currency, region (0: every), first month.
type PriceKey = (i64, String, i16, NaiveDate);

struct PresentPrice {
    id: i64,
    pricing: Pricing,
}

pub(super) async fn apply(
    transaction: &Transaction<'_>,
    declared: &[Price],
    max_clock_skew: Duration,
    problems: &mut Vec<Problem>,
) -> Result<Changes, CatalogError> {
    let meters = meter_keys(transaction, declared).await?;
    let present = present_prices(transaction, &meters).await?;
    let mut changes = Changes::default();
    let mut write = Vec::new();
    let mut superseded: Vec<i64> = Vec::new();
    for (index, price) in declared.iter().enumerate() {
        let Some(&meter_key) = meters.get(&price.meter) else {
            problems.push(Problem {
                place: format!("prices[{index}].meter"),
                reason: format!("{:?}: there is no such meter, in the file or in the database", price.meter),
            });
            continue;
        };
        let region = price.billing_region.map_or(0, crate::model::BillingRegion::code);
        let key = (meter_key, price.currency.code().to_owned(), region, price.effective_from.first_day());
        match present.get(&key) {
            None => changes.created += 1,
            Some(present) if is_as(present, price) => {
                changes.unchanged += 1;
                continue;
            }
            Some(present) => {
                changes.updated += 1;
                superseded.push(present.id);
            }
        }
        write.push((meter_key, price));
    }
    if write.is_empty() || !problems.is_empty() {
        return Ok(changes);
    }
    let now = clock::tick(transaction, max_clock_skew).await?.as_chrono();
    transaction
        .run(
            "-- catalog: superseded prices
            UPDATE price SET superseded_at = $1 WHERE price_id = ANY ($2)",
            &[&now, &superseded],
        )
        .await?;
    for (meter_key, price) in write {
        insert(transaction, meter_key, price, now).await?;
    }
    Ok(changes)
}

/// Equal amounts, however many zeros they were written with.
fn is_as(present: &PresentPrice, price: &Price) -> bool {
    let (present, declared) = (&present.pricing, &price.pricing);
    let amounts = |pricing: &Pricing| -> Vec<_> {
        let tiers = pricing.model.tiers().iter();
        tiers.map(|tier| (tier.up_to.map(Decimal::to_big), tier.unit_price.to_big())).collect()
    };
    present.model.name() == declared.model.name()
        && present.rounding == declared.rounding
        && amounts(present) == amounts(declared)
}

async fn meter_keys(transaction: &Transaction<'_>, declared: &[Price]) -> Result<HashMap<String, i64>, StoreError> {
    let names: Vec<&str> = declared.iter().map(|price| price.meter.as_str()).collect();
    let rows = transaction
        .fetch_all("-- catalog: meters of prices\nSELECT name, meter_key FROM meter WHERE name = ANY ($1)", &[&names])
        .await?;
    rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("meter_key")?))).collect()
}

async fn present_prices(
    transaction: &Transaction<'_>,
    meters: &HashMap<String, i64>,
) -> Result<HashMap<PriceKey, PresentPrice>, StoreError> {
    let keys: Vec<i64> = meters.values().copied().collect();
    let statement = format!(
        "-- catalog: prices that are there
        SELECT p.meter_key, p.currency, coalesce(p.billing_region, 0::smallint) AS billing_region, p.effective_from,
               {PRICING_COLUMNS}
        FROM price p JOIN price_tier t USING (price_id)
        WHERE p.meter_key = ANY ($1) AND p.superseded_at IS NULL
        ORDER BY p.price_id, t.tier_number"
    );
    let rows = transaction.fetch_all(&statement, &[&keys]).await?;
    let prices = pricing::by_price(&rows).map(|rows| {
        let first = &rows[0];
        let key = (
            first.try_get("meter_key")?,
            first.try_get("currency")?,
            first.try_get("billing_region")?,
            first.try_get("effective_from")?,
        );
        Ok((key, PresentPrice { id: first.try_get("price_id")?, pricing: pricing::from_rows(rows)? }))
    });
    prices.collect()
}

async fn insert(
    transaction: &Transaction<'_>,
    meter_key: i64,
    price: &Price,
    applied_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = transaction
        .fetch_one(
            "-- catalog: price
            INSERT INTO price (meter_key, currency, billing_region, effective_from, applied_at, pricing_model, rounding_mode)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING price_id",
            &[
                &meter_key,
                &price.currency.code(),
                &price.billing_region.map(crate::model::BillingRegion::code),
                &price.effective_from.first_day(),
                &applied_at,
                &price.pricing.model.name(),
                &price.pricing.rounding.name(),
            ],
        )
        .await?;
    let price_id: i64 = row.try_get("price_id")?;
    let mut previous: Option<Numeric> = None;
    for (tier, number) in price.pricing.model.tiers().iter().zip(1_i16..) {
        let up_to = tier.up_to.map(Numeric);
        transaction
            .run(
                "-- catalog: tier
                INSERT INTO price_tier (price_id, tier_number, from_quantity, up_to, previous_up_to, unit_price)
                VALUES ($1, $2, coalesce($3::numeric, 0), $4, $3, $5)",
                &[&price_id, &number, &previous, &up_to, &Numeric(tier.unit_price)],
            )
            .await?;
        previous = up_to;
    }
    Ok(())
}
