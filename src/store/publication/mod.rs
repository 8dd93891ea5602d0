//! Publishing loads: everything in one transaction, so that a killed import leaves nothing behind.

mod alike;
mod assets;
mod comparisons;
mod copy;
mod coverage;
mod in_force;
mod insert;
mod months;
mod new_load;
mod preconditions;
mod publish;
mod session;

pub use alike::UnicodeAsset;
pub use coverage::{Coverage, OmittedDay};
pub use in_force::LoadInForce;
pub use new_load::{LoadKey, NewLoad, NewTotal, RecordToWrite};
pub use preconditions::Preconditions;
pub use publish::{Publication, PublishedLoad};
pub use session::{ImportSession, ImportTenant};
