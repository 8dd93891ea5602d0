//! A message of a report, read field by field: a message with records that are empty would be a hundred times as large when
//! it is decoded.

use prost::Message as _;

use super::{ClientError, packed_records::PackedRecords};
use crate::contract::{Fields, HEADER, PACKED_RECORDS, RECORDS, RESUME_TOKEN, SUMMARY, WireValue, proto};

/// More meters than any price list has. What is added up by meter stays in memory.
pub(super) const MAX_METERS: usize = 4096;
/// Each meter in four regions, under trial or not.
pub(super) const MAX_SUMS: usize = 8 * MAX_METERS;
/// The number of `ReportSummary.totals`.
const TOTALS: u32 = 2;

/// Records as they came.
pub(super) enum Encoded<'a> {
    Record(&'a [u8]),
    Packed(PackedRecords<'a>),
}

/// A message without its records.
#[derive(Default)]
pub(super) struct ReportMessage<'a> {
    pub(super) header: Option<&'a [u8]>,
    pub(super) record_count: u64,
    pub(super) resume_token: &'a [u8],
    pub(super) summary: Option<proto::ReportSummary>,
}

// === impl ReportMessage ===

impl<'a> ReportMessage<'a> {
    /// Reads a message. `see` gets its records.
    pub(super) fn read(
        message: &'a [u8],
        mut see: impl FnMut(Encoded<'a>) -> Result<(), ClientError>,
    ) -> Result<Self, ClientError> {
        let mut read = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next() {
            match (number, value) {
                (RECORDS, WireValue::Bytes(record)) => {
                    see(Encoded::Record(record))?;
                    read.record_count += 1;
                }
                (PACKED_RECORDS, WireValue::Bytes(packed)) => {
                    let packed = PackedRecords::read(packed)?;
                    read.record_count += packed.records().len() as u64;
                    see(Encoded::Packed(packed))?;
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

// === impl Encoded ===

impl Encoded<'_> {
    /// Hands on each record as it is without packing.
    pub(super) fn each(&self, mut see: impl FnMut(&[u8]) -> Result<(), ClientError>) -> Result<(), ClientError> {
        match self {
            Self::Record(record) => see(record),
            Self::Packed(packed) => {
                let mut unpacked = Vec::new();
                packed.records().iter().try_for_each(|record| {
                    packed.unpack(*record, &mut unpacked);
                    see(&unpacked)
                })
            }
        }
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
