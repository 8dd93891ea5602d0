//! Prices: never updated, but superseded, so that a past bill can be shown again.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use tokio_postgres::Transaction;

use super::changes::{CatalogError, Changes};
use crate::{
    catalog::{Price, Problem},
    database::{Statements as _, numeric::Numeric},
    model::{Decimal, Pricing},
    store::{
        StoreError,
        pricing::{self, PRICING_COLUMNS},
    },
};

/// What a price is for: meter, currency, region (0: every), first month.
type PriceKey = (i64, String, i16, NaiveDate);

struct PresentPrice {
    id: i64,
    pricing: Pricing,
}

/// Prices to publish.
pub(super) struct PlannedPrices<'a> {
    pub(super) changes: Changes,
    /// With the keys of their meters.
    write: Vec<(i64, &'a Price)>,
    superseded: Vec<i64>,
}

/// Compares prices with those that are there, meters of the same catalog among them.
pub(super) async fn plan<'a>(
    transaction: &Transaction<'_>,
    declared: &'a [Price],
    problems: &mut Vec<Problem>,
) -> Result<PlannedPrices<'a>, CatalogError> {
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
    Ok(PlannedPrices { changes, write, superseded })
}

// === impl PlannedPrices ===

impl PlannedPrices<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.write.is_empty()
    }

    /// Publishes them at a moment of the publication clock.
    pub(super) async fn publish(&self, transaction: &Transaction<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
        transaction
            .run(
                "-- catalog: superseded prices
                UPDATE price SET superseded_at = $1 WHERE price_id = ANY ($2)",
                &[&now, &self.superseded],
            )
            .await?;
        insert(transaction, &self.write, now).await
    }
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

/// All at once, since imports wait meanwhile.
async fn insert(
    transaction: &Transaction<'_>,
    prices: &[(i64, &Price)],
    applied_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let meters: Vec<i64> = prices.iter().map(|&(meter_key, _)| meter_key).collect();
    let prices: Vec<&Price> = prices.iter().map(|&(_, price)| price).collect();
    let currencies: Vec<&str> = prices.iter().map(|price| price.currency.code()).collect();
    let regions: Vec<Option<i16>> =
        prices.iter().map(|price| price.billing_region.map(crate::model::BillingRegion::code)).collect();
    let months: Vec<NaiveDate> = prices.iter().map(|price| price.effective_from.first_day()).collect();
    let models: Vec<&str> = prices.iter().map(|price| price.pricing.model.name()).collect();
    let roundings: Vec<&str> = prices.iter().map(|price| price.pricing.rounding.name()).collect();
    let ids = allocate_ids(transaction, prices.len()).await?;
    transaction
        .run(
            "-- catalog: insert prices
            INSERT INTO price (price_id, meter_key, currency, billing_region, effective_from, pricing_model, rounding_mode,
                               applied_at)
            SELECT new.*, $8
            FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::smallint[], $5::date[], $6::text[], $7::text[]) AS new",
            &[&ids, &meters, &currencies, &regions, &months, &models, &roundings, &applied_at],
        )
        .await?;
    insert_tiers(transaction, &ids, &prices).await
}

async fn allocate_ids(transaction: &Transaction<'_>, count: usize) -> Result<Vec<i64>, StoreError> {
    let statement = "-- catalog: price ids
        SELECT nextval('price_id_seq') AS price_id FROM generate_series(1, $1::bigint)";
    let rows = transaction.fetch_all(statement, &[&i64::try_from(count).unwrap_or(i64::MAX)]).await?;
    rows.iter().map(|row| Ok(row.try_get("price_id")?)).collect()
}

async fn insert_tiers(transaction: &Transaction<'_>, ids: &[i64], prices: &[&Price]) -> Result<(), StoreError> {
    let (mut price_ids, mut numbers, mut ends, mut starts, mut unit_prices) =
        (Vec::<i64>::new(), Vec::<i16>::new(), Vec::new(), Vec::new(), Vec::new());
    for (&id, price) in ids.iter().zip(prices) {
        let mut previous: Option<Numeric> = None;
        for (tier, number) in price.pricing.model.tiers().iter().zip(1_i16..) {
            let up_to = tier.up_to.map(Numeric);
            price_ids.push(id);
            numbers.push(number);
            starts.push(previous);
            ends.push(up_to);
            unit_prices.push(Numeric(tier.unit_price));
            previous = up_to;
        }
    }
    transaction
        .run(
            "-- catalog: insert tiers
            INSERT INTO price_tier (price_id, tier_number, from_quantity, up_to, previous_up_to, unit_price)
            SELECT price_id, tier_number, coalesce(previous_up_to, 0), up_to, previous_up_to, unit_price
            FROM unnest($1::bigint[], $2::smallint[], $3::numeric[], $4::numeric[], $5::numeric[])
                 AS new (price_id, tier_number, previous_up_to, up_to, unit_price)",
            &[&price_ids, &numbers, &starts, &ends, &unit_prices],
        )
        .await?;
    Ok(())
}
