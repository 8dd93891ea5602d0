//! PostgreSQL: the only place that knows SQL. Rows become values of the model here, once.

mod admin;
mod blocks;
mod catalog;
mod clock;
mod columns;
mod cost_turns;
mod costs;
mod error;
mod import_connections;
mod layout;
mod load_history;
mod loads;
mod locks;
mod meters;
mod partitions;
mod pools;
mod prices;
mod pricing;
mod publication;
mod record_machines;
mod revision;
mod scope;
mod statements;
mod tenants;
mod usage_key;

pub use admin::{
    Access, Distributed, Grant, GrantError, Granted, PurgeError, PurgeRules, Purged, Records, SchemaError,
    check_schema, check_schema_for_import, distribute, grant, layout, migrate, present_month, purge,
};
pub use blocks::{
    AssetKey, BLOCK_ROWS, BlockRange, BlockRecords, RecordBlock, RecordColumns, RecordFilter, RecordRow, RecordRows,
    StoredDimensions, block_of,
};
pub use catalog::{CatalogChanges, CatalogError, Changes, apply as apply_catalog, try_out as try_out_catalog};
pub use clock::{AsOf, SnapshotTime};
pub use costs::{
    AskedBill, ComparedBill, ComparedBills, ComparedPart, CostMonth, CostPart, CostPosition, CostReader, CostTenant,
    LateMonth, MissingDays, MonthUsage, SidePart,
};
pub use error::{ClockError, StoreError};
pub use layout::Layout;
pub use load_history::{LoadPosition, LoadRecord};
pub use loads::{Load, StoredTotal};
pub use meters::{MeterKey, Meters};
pub use pools::{Store, StoreConfig};
pub use prices::{ListedPrice, ListedPrices, Price, PriceList};
pub use publication::{
    Coverage, ImportSession, ImportTenant, InForce, LoadInForce, LoadKey, NewLoad, NewTotal, OmittedDay, Preconditions,
    Publication, PublishedLoad, RecordToWrite, UnicodeAsset,
};
pub use revision::{LoadContent, revision};
pub use statements::{
    AffectedMonths, BilledKey, ClosingSession, NewStatement, Published, ReportLoad, ReportLoads, Sealed, Statement,
    StatementEntry, StatementLines, StoredKey,
};
pub use tenants::{
    Hidden, Lookup, OrganizationPage, OrganizationPosition, OrganizationSummary, TenantKey, TenantPage, TenantPosition,
    TenantSearch, TenantSummary, UsageMonth, VisibleOrganization, VisibleTenant,
};
