//! The contract of `proto/`: generated messages, their conversion from and to values of the model, and the report as CSV.

#[cfg(any(feature = "columns", feature = "server"))]
mod arrow;
mod convert;
mod csv;
#[cfg(feature = "server")]
mod encode;
#[cfg(feature = "client")]
mod lines;
pub mod proto;
mod reason;
mod record;
mod wire;

#[cfg(feature = "columns")]
pub(crate) use arrow::decimal_text;
#[cfg(any(feature = "columns", feature = "server"))]
pub(crate) use arrow::usage_schema;
#[cfg(feature = "server")]
pub(crate) use arrow::{Texts, decimal, decimal_array, dictionary, text_array};
pub use csv::{CsvFormat, CsvWriter, LineEnd};
#[cfg(feature = "server")]
pub(crate) use encode::{LENGTH_DELIMITED, asset_texts, put_key, put_part, put_varint};
#[cfg(feature = "client")]
pub(crate) use lines::{part_length, read_part, read_time, write_decimal};
#[cfg(test)]
pub(crate) use reason::documented as documented_reasons;
pub use reason::{REASON_DOMAIN, Reason, UnknownReason};
#[cfg(feature = "client")]
pub(crate) use record::billing_region;
pub use record::{InvalidMessage, RecordReader};
pub(crate) use wire::{Fields, WireValue};

// Numbers of the fields of `GetDetailedUsageResponse`.
#[cfg(feature = "client")]
pub(crate) const HEADER: u32 = 1;
pub(crate) const RECORDS: u32 = 2;
#[cfg(feature = "client")]
pub(crate) const RESUME_TOKEN: u32 = 3;
#[cfg(feature = "client")]
pub(crate) const SUMMARY: u32 = 4;
pub(crate) const PACKED_RECORDS: u32 = 5;

/// The most that `PackedRecords` may have.
pub(crate) const MAX_PACKED_RECORDS: usize = 4096;

// Numbers of its fields.
pub(crate) const PACKED_ASSETS: u32 = 1;
pub(crate) const PACKED_DIMENSIONS: u32 = 2;
pub(crate) const PACKED_ASSET_INDEXES: u32 = 3;
pub(crate) const PACKED_DIMENSION_INDEXES: u32 = 4;
pub(crate) const PACKED_QUANTITIES: u32 = 5;
