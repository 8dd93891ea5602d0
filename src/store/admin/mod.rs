//! What the owner of the database does: the schema, rights, and deleting what need not be kept.

mod distribute;
mod grants;
mod migrate;
mod public;
mod purge;

pub use distribute::{Distributed, distribute};
pub(super) use grants::TABLES;
pub use grants::{Access, Grant, GrantError, Granted, grant};
pub use migrate::{SchemaError, check_schema, check_schema_for_import, layout, migrate};
pub use purge::{PurgeError, PurgeRules, Purged, Records, present_month, purge};
