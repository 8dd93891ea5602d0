//! Price lists as they stand at a snapshot: prices, and the meters that are not charged.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;

use super::{
    MeterKey, SnapshotTime, Store, StoreError, columns,
    pricing::{self, PRICING_COLUMNS},
    tenants::currency,
    usage_key::billing_region,
};
use crate::{
    database::{Binds, PooledConnection, Statements as _},
    model::{BillingRegion, Currency, Month, MonthRange, Pricing, UtcTime},
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

/// A price with what a list of prices tells beside it.
#[derive(Clone, Debug)]
pub struct ListedPrice {
    pub price: Price,
    pub currency: Currency,
    /// When it was published.
    pub applied_at: UtcTime,
}

/// The prices of some meters.
#[derive(Clone, Debug, Default)]
pub struct ListedPrices {
    /// In no order.
    pub prices: Vec<ListedPrice>,
    /// Meters that are not charged, and since when.
    pub uncharged: HashMap<MeterKey, UtcTime>,
}

/// Which prices to read.
struct Selection<'a> {
    /// `None`: all.
    meters: Option<&'a [MeterKey]>,
    currency: Option<Currency>,
    /// Prices that apply to months up to this one.
    until: Month,
    snapshot: SnapshotTime,
}

// === impl Price ===

impl AsRef<Price> for Price {
    fn as_ref(&self) -> &Price {
        self
    }
}

// === impl ListedPrice ===

impl AsRef<Price> for ListedPrice {
    fn as_ref(&self) -> &Price {
        &self.price
    }
}

impl Store {
    /// The prices of meters that apply to a month or to one before it.
    pub async fn list_prices(
        &self,
        meters: &[MeterKey],
        currency: Option<Currency>,
        month: Month,
        snapshot: SnapshotTime,
    ) -> Result<ListedPrices, StoreError> {
        let connection = self.short().await?;
        let selection = Selection { meters: Some(meters), currency, until: month, snapshot };
        let (prices, uncharged) = tokio::try_join!(selection.prices(&connection), uncharged(&connection, snapshot))?;
        Ok(ListedPrices { prices, uncharged })
    }
}

/// The price list in a currency, for months up to the last of these.
pub(super) async fn price_list(
    connection: &PooledConnection,
    currency: Currency,
    months: MonthRange,
    snapshot: SnapshotTime,
) -> Result<PriceList, StoreError> {
    let selection = Selection { meters: None, currency: Some(currency), until: months.end(), snapshot };
    let (prices, uncharged) = tokio::try_join!(selection.prices(connection), uncharged(connection, snapshot))?;
    let prices = prices.into_iter().map(|listed| listed.price).collect();
    Ok(PriceList { prices, uncharged: uncharged.into_keys().collect() })
}

// === impl Selection ===

impl Selection<'_> {
    async fn prices(&self, connection: &PooledConnection) -> Result<Vec<ListedPrice>, StoreError> {
        let statement = format!(
            "-- prices
            SELECT p.meter_key, p.currency, p.billing_region, p.effective_from, p.applied_at, {PRICING_COLUMNS}
            FROM price p JOIN price_tier t USING (price_id)
            WHERE ($1::bigint[] IS NULL OR p.meter_key = ANY ($1)) AND ($2::text IS NULL OR p.currency = $2)
              AND p.effective_from <= $3
              AND p.applied_at <= $4 AND (p.superseded_at IS NULL OR p.superseded_at > $4)
            ORDER BY p.price_id, t.from_quantity"
        );
        let meters: Option<Vec<i64>> = self.meters.map(|meters| meters.iter().map(|key| key.0).collect());
        let currency = self.currency.map(Currency::code);
        let binds: Binds<'_> = &[&meters, &currency, &self.until.first_day(), &self.snapshot.time().as_chrono()];
        let rows = connection.fetch_all(&statement, binds).await?;
        pricing::by_price(&rows).map(ListedPrice::from_rows).collect()
    }
}

impl ListedPrice {
    fn from_rows(rows: &[Row]) -> Result<Self, StoreError> {
        let first = rows.first().ok_or_else(|| StoreError::corrupt("a price has no tiers"))?;
        let region: Option<i16> = first.try_get("billing_region")?;
        let price = Price {
            meter: MeterKey(first.try_get("meter_key")?),
            billing_region: region.map(billing_region).transpose()?,
            effective_from: columns::month(first, "effective_from")?,
            pricing: pricing::from_rows(rows)?,
        };
        let applied_at = UtcTime::from_chrono(first.try_get("applied_at")?);
        Ok(Self { price, currency: currency(first)?, applied_at })
    }
}

/// The meters that are not charged at a snapshot, and since when.
async fn uncharged(
    connection: &PooledConnection,
    snapshot: SnapshotTime,
) -> Result<HashMap<MeterKey, UtcTime>, StoreError> {
    let statement = "-- uncharged_meters
        SELECT meter_key, applied_at FROM uncharged_meter
        WHERE applied_at <= $1 AND (superseded_at IS NULL OR superseded_at > $1)";
    let rows = connection.fetch_all(statement, &[&snapshot.time().as_chrono()]).await?;
    let meters = rows
        .iter()
        .map(|row| Ok((MeterKey(row.try_get("meter_key")?), UtcTime::from_chrono(row.try_get("applied_at")?))));
    meters.collect()
}
