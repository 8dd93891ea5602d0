//! Applying a catalog: all of it in one transaction, or nothing.

mod apply;
mod changes;
mod meters;
mod organizations;
mod prices;
mod tenants;
mod unused;

pub use apply::{apply, try_out};
pub use changes::{CatalogChanges, CatalogError, Changes};
