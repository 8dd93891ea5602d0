//! What the owner of the database does: the schema, rights, and deleting what need not be kept.

mod grants;
mod migrate;
mod public;
mod purge;

pub use grants::{Access, Grant, GrantError, Granted, grant};
pub use migrate::{SchemaError, check_schema, migrate};
pub use purge::{PurgeError, PurgeRules, Purged, Records, present_month, purge};
