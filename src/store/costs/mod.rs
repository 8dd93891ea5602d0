//! What costs are made of: what an organization's tenants have used in each month, added up, and the price lists.

mod reader;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use super::{
    MeterKey, SnapshotTime, StoreError,
    pricing::{self, PRICING_COLUMNS},
    tenants::TenantKey,
    usage_key::billing_region,
};
use crate::{
    database::{Binds, PooledConnection, Statements as _},
    model::{BillingRegion, Currency, Month, MonthRange, Pricing, TenantId, UsageKey, UtcTime},
};

pub use reader::{CostPart, CostPosition, CostReader};

/// A tenant of an organization, as a bill names it.
#[derive(Clone, Debug)]
pub struct CostTenant {
    pub key: TenantKey,
    pub id: TenantId,
    pub name: String,
    pub plan: String,
}

/// A tenant's month that a bill is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostMonth {
    pub month: Month,
    pub tenant: TenantKey,
    /// The revision of its detailed usage report.
    pub revision: [u8; 32],
    /// When its newest load was published.
    pub data_as_of: UtcTime,
}

/// What a tenant used in a month, for a meter, region and trial.
#[derive(Clone, Debug)]
pub struct MonthUsage {
    pub month: Month,
    pub tenant: TenantKey,
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    pub record_count: i64,
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

/// The prices in a currency that apply to months up to the last of these.
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

fn month(first_day: NaiveDate) -> Result<Month, StoreError> {
    Month::of(first_day).ok_or_else(|| StoreError::corrupt(format!("{first_day} is in no month")))
}
