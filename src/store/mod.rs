//! PostgreSQL: the only place that knows SQL. Rows become values of the model here, once.

mod admin;
mod blocks;
mod catalog;
mod clock;
mod cost_turns;
mod costs;
mod error;
mod loads;
mod locks;
mod meters;
mod pools;
mod pricing;
mod publication;
mod scope;
mod tenants;
mod usage_key;

pub use admin::{
    Access, Grant, GrantError, Granted, PurgeError, PurgeRules, Purged, Records, SchemaError, check_schema, grant,
    migrate, present_month, purge,
};
pub use blocks::{
    AssetKey, BLOCK_ROWS, BlockRange, RecordBlock, RecordFilter, RecordRow, RecordRows, StoredDimensions, block_of,
};
pub use catalog::{CatalogChanges, CatalogError, Changes, apply as apply_catalog};
pub use clock::{AsOf, SnapshotTime};
pub use costs::{CostMonth, CostPart, CostPosition, CostReader, CostTenant, MonthUsage, Price};
pub use error::{ClockError, StoreError};
pub use loads::{Load, StoredTotal};
pub use meters::{MeterKey, Meters};
pub use pools::{Store, StoreConfig};
pub use publication::{
    Coverage, ImportSession, ImportTenant, LoadInForce, LoadKey, NewLoad, NewTotal, OmittedDay, Preconditions,
    Publication, PublishedLoad, RecordToWrite, UnicodeAsset,
};
pub use tenants::{
    Hidden, Lookup, TenantKey, TenantPage, TenantPosition, TenantSearch, TenantSummary, VisibleOrganization,
    VisibleTenant,
};
