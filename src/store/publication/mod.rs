//! Publishing loads: their records first, in a transaction of their own, and then all loads in another one.

mod alike;
mod asset_search;
mod assets;
mod comparisons;
mod copy;
mod coverage;
mod in_force;
mod insert;
mod months;
mod months_before;
mod new_load;
mod places;
mod preconditions;
mod publish;
mod revisions;
mod session;
mod sums;
mod unpublished;

pub use alike::UnicodeAsset;
pub use coverage::{Coverage, OmittedDay};
pub use in_force::{InForce, LoadInForce};
pub use new_load::{LoadKey, NewLoad, NewTotal, RecordToWrite};
pub use preconditions::Preconditions;
pub use publish::{Publication, PublishedLoad};
pub use session::{ImportSession, ImportTenant};
pub(in crate::store) use unpublished::sweep;
