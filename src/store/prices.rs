//! Price lists as they stand at a snapshot: prices, and the meters that are not charged.

use std::collections::HashSet;

use chrono::NaiveDate;

use super::{
    MeterKey, SnapshotTime, StoreError,
    pricing::{self, PRICING_COLUMNS},
    usage_key::billing_region,
};
use crate::{
    database::{Binds, PooledConnection, Statements as _},
    model::{BillingRegion, Currency, Month, MonthRange, Pricing},
};

/// What meters cost in a currency.
#[derive(Clone, Debug, Default)]
pub struct PriceList {
    pub prices: Vec<Price>,
    /// Meters that cost nothing, whatever prices they have.
    pub uncharged: HashSet<MeterKey>,
}

/// A price of a meter.
#[derive(Clone, Debug)]
pub struct Price {
    /// What is priced.
    pub meter: MeterKey,
    /// Where; `None`: in every region without a price of its own.
    pub billing_region: Option<BillingRegion>,
    /// The first month that it applies to.
    pub effective_from: Month,
    pub pricing: Pricing,
}

/// The price list in a currency, for months up to the last of these.
pub(super) async fn price_list(
    connection: &PooledConnection,
    currency: Currency,
    months: MonthRange,
    snapshot: SnapshotTime,
) -> Result<PriceList, StoreError> {
    let (prices, uncharged) =
        tokio::try_join!(prices(connection, currency, months, snapshot), uncharged(connection, snapshot))?;
    Ok(PriceList { prices, uncharged })
}

/// The prices that apply to months up to the last of these.
async fn prices(
    connection: &PooledConnection,
    currency: Currency,
    months: MonthRange,
    snapshot: SnapshotTime,
) -> Result<Vec<Price>, StoreError> {
    let statement = format!(
        "-- prices
        SELECT p.meter_key, p.billing_region, p.effective_from, {PRICING_COLUMNS}
        FROM price p JOIN price_tier t USING (price_id)
        WHERE p.currency = $1 AND p.effective_from <= $2
          AND p.applied_at <= $3 AND (p.superseded_at IS NULL OR p.superseded_at > $3)
        ORDER BY p.price_id, t.from_quantity"
    );
    let binds: Binds<'_> = &[&currency.code(), &months.end().first_day(), &snapshot.time().as_chrono()];
    let rows = connection.fetch_all(&statement, binds).await?;
    let prices = pricing::by_price(&rows).map(|rows| {
        let region: Option<i16> = rows[0].try_get("billing_region")?;
        Ok(Price {
            meter: MeterKey(rows[0].try_get("meter_key")?),
            billing_region: region.map(billing_region).transpose()?,
            effective_from: month(rows[0].try_get("effective_from")?)?,
            pricing: pricing::from_rows(rows)?,
        })
    });
    prices.collect()
}

async fn uncharged(connection: &PooledConnection, snapshot: SnapshotTime) -> Result<HashSet<MeterKey>, StoreError> {
    let statement = "-- uncharged_meters
        SELECT meter_key FROM uncharged_meter
        WHERE applied_at <= $1 AND (superseded_at IS NULL OR superseded_at > $1)";
    let rows = connection.fetch_all(statement, &[&snapshot.time().as_chrono()]).await?;
    rows.iter().map(|row| Ok(MeterKey(row.try_get("meter_key")?))).collect()
}

fn month(first_day: NaiveDate) -> Result<Month, StoreError> {
    Month::of(first_day).ok_or_else(|| StoreError::corrupt(format!("{first_day} is in no month")))
}
