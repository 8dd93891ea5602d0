//! The words of the service as types that cannot be wrong: input is parsed into them at the edge, once.

#[cfg(test)]
pub(crate) mod arbitrary;
mod columns;
mod composed;
mod currency;
mod day;
mod decimal;
mod enums;
mod folded;
mod ids;
mod month;
mod price;
mod record;
mod time;

pub use columns::Columns;
pub use composed::composed;
pub use currency::{Currency, InvalidCurrency};
pub use day::{InvalidDay, UsageDay};
pub use decimal::{Decimal, DecimalSum, InvalidDecimal, plain};
pub use enums::{AssetType, BillingRegion, InvalidName, Platform, TenantStatus};
pub use folded::folded;
pub use ids::{InvalidId, MeterId, OrganizationId, TenantId};
pub use month::{InvalidMonth, InvalidMonthRange, Month, MonthRange};
pub use price::PriceTier;
pub use record::{
    Asset, InvalidText, MAX_ASSET_ID_BYTES, MAX_ASSET_NAME_BYTES, Meter, Source, UsageKey, UsageRecord, checked_text,
};
pub use time::{InvalidTime, UtcTime};
