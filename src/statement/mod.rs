//! Statements as documents: what is signed, kept and checked. They hold for ever, so nothing here may change what a statement of
//! before says: a new field is another [`VERSION`].

mod canonical;
mod digest;
mod document;
mod signature;
mod text;

pub use canonical::canonical;
pub use digest::ListDigest;
pub use document::{Adjustment, Head, Line, MissingDays, Report, Tier, VERSION};
pub use signature::{InvalidKey, PublicKey, Signature, StatementKey};
