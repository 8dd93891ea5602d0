//! A message of a report, read field by field: a message with records that are empty would be a hundred times as large when
//! it is decoded.

use prost::Message as _;

use super::ClientError;
use crate::contract::{Fields, HEADER, RECORDS, RESUME_TOKEN, SUMMARY, WireValue, proto};

/// More meters than any price list has. What is added up by meter stays in memory.
pub(super) const MAX_METERS: usize = 4096;
/// Each meter in four regions, under trial or not.
pub(super) const MAX_SUMS: usize = 8 * MAX_METERS;
/// The number of `ReportSummary.totals`.
const TOTALS: u32 = 2;

/// A message without its records.
#[derive(Default)]
pub(super) struct ReportMessage<'a> {
    pub(super) header: Option<&'a [u8]>,
    pub(super) record_count: u64,
    pub(super) resume_token: &'a [u8],
    pub(super) summary: Option<proto::ReportSummary>,
}

impl<'a> ReportMessage<'a> {
    /// Reads a message. `see` gets its records, encoded.
    pub(super) fn read(
        message: &'a [u8],
        mut see: impl FnMut(&'a [u8]) -> Result<(), ClientError>,
    ) -> Result<Self, ClientError> {
        let mut read = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next() {
            match (number, value) {
                (RECORDS, WireValue::Bytes(record)) => {
                    see(record)?;
                    read.record_count += 1;
                }
                (HEADER, WireValue::Bytes(header)) if read.header.is_none() => read.header = Some(header),
                (RESUME_TOKEN, WireValue::Bytes(token)) => read.resume_token = token,
                (SUMMARY, WireValue::Bytes(summary)) if read.summary.is_none() => {
                    read.summary = Some(read_summary(summary)?);
                }
                (HEADER | SUMMARY, _) => return Err(ClientError::wrong("a message has two headers or summaries")),
                _ => {}
            }
        }
        if !fields.rest.is_empty() {
            return Err(ClientError::Malformed("message".to_owned()));
        }
        Ok(read)
    }
}

fn read_summary(summary: &[u8]) -> Result<proto::ReportSummary, ClientError> {
    let mut fields = Fields::new(summary);
    let mut totals = 0;
    while let Some((number, _)) = fields.next() {
        totals += usize::from(number == TOTALS);
    }
    if totals > MAX_SUMS {
        return Err(ClientError::wrong(format!("its summary has {totals} sums")));
    }
    proto::ReportSummary::decode(summary).map_err(|error| ClientError::malformed("summary", error.to_string()))
}
