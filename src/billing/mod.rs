//! Closing months: bills become statements.

mod close;
mod error;
mod findings;

pub use close::{CloseOutcome, CloseRequest, Closed, Closer};
pub use error::CloseError;
pub use findings::Findings;
