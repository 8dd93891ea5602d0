//! The words of the service as types that cannot be wrong: input is parsed into them at the edge, once.

#[cfg(test)]
pub(crate) mod arbitrary;
mod breakdown;
mod columns;
mod compact_sum;
mod composed;
mod currency;
mod day;
mod decimal;
mod decimal_form;
mod digest;
mod enums;
mod filter;
mod focus;
mod folded;
mod hex;
mod ids;
mod month;
mod price;
mod printable;
mod record;
mod statement_number;
mod time;
mod totals;
mod value;

pub use breakdown::{BillSubject, BreakdownFilter, CostGroups, MissingGroup};
pub use columns::{Column, Form, MAX_ASSET_ID_BYTES, MAX_ASSET_NAME_BYTES, MAX_METER_NAME_BYTES, Part};
pub use compact_sum::CompactSum;
pub use composed::{Named, composed};
pub use currency::{Currency, InvalidCurrency};
pub use day::{InvalidDay, UsageDay};
pub use decimal::{Decimal, DecimalSum, InvalidDecimal, plain};
pub use decimal_form::{DecimalForm, Digits};
pub use digest::{DigestVersion, LoadDigest};
pub use enums::{AssetType, BillingRegion, CostGroup, FocusVersion, InvalidName, Platform, TenantStatus};
pub use filter::UsageFilter;
pub use focus::{InvalidServiceSubcategory, ServiceSubcategory};
pub use folded::folded;
pub use hex::{hex, unhex};
pub use ids::{InvalidId, MeterId, OrganizationId, TenantId};
pub use month::{InvalidMonth, InvalidMonthRange, Month, MonthRange};
pub use price::{InvalidPricing, PriceTier, Pricing, PricingModel, RoundingMode};
pub use printable::{is_deceptive, printable};
pub use record::{
    Asset, InvalidText, Meter, RecordDimensions, Source, UsageKey, UsageRecord, asset_values, checked_text,
    tenant_values,
};
pub use statement_number::{InvalidStatementNumber, StatementNumber};
pub use time::{InvalidTime, UtcTime};
pub use totals::{Total, Totals, TotalsMismatch};
pub use value::Value;
