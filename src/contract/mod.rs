//! The contract of `proto/`: generated messages, their conversion from and to values of the model, and the report as CSV.

mod convert;
mod csv;
mod fields;
pub mod proto;
mod record;
mod wire;

pub use csv::{CsvFormat, CsvWriter, LineEnd};
pub(crate) use record::billing_region;
pub use record::{InvalidMessage, RecordReader};
pub(crate) use {
    fields::{
        LENGTH_DELIMITED, PartValues, RECORDS, RESUME_TOKEN, SUMMARY, part_length, put_key, put_part, put_varint,
        read_part, write_decimal,
    },
    wire::{Fields, WireValue},
};
