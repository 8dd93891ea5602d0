//! The contract of `proto/`: generated messages, their conversion from and to values of the model, and the report as CSV.

mod convert;
mod csv;
pub mod proto;
mod record;
mod wire;

pub use csv::{CsvFormat, CsvWriter, LineEnd};
pub(crate) use record::billing_region;
pub use record::{InvalidMessage, RecordReader};
pub(crate) use wire::{Fields, Value};
