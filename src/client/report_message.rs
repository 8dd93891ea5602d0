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
        let mut is_packed = false;
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next() {
            match (number, value) {
                (RECORDS, WireValue::Bytes(record)) if !is_packed => {
                    see(Encoded::Record(record))?;
                    read.record_count += 1;
                }
                (PACKED_RECORDS, WireValue::Bytes(packed)) if !is_packed && read.record_count == 0 => {
                    is_packed = true;
                    let packed = PackedRecords::read(packed)?;
                    read.record_count += packed.records().len() as u64;
                    see(Encoded::Packed(packed))?;
                }
                (HEADER, WireValue::Bytes(header)) if read.header.is_none() => read.header = Some(header),
                (RESUME_TOKEN, WireValue::Bytes(token)) => read.resume_token = token,
                (SUMMARY, WireValue::Bytes(summary)) if read.summary.is_none() => {
                    read.summary = Some(read_summary(summary)?);
                }
                (RECORDS | PACKED_RECORDS, WireValue::Bytes(_)) => {
                    return Err(ClientError::wrong("a message has packed records and others"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_bounded_by_being_there_once() {
        let record = proto::UsageRecord { asset_id: "a".to_owned(), ..Default::default() };
        let records = proto::GetDetailedUsageResponse { records: vec![record.clone()], ..Default::default() };
        let packed = proto::PackedRecords {
            assets: vec![record],
            dimensions: vec![proto::UsageRecord::default()],
            asset_indexes: vec![0; 4096],
            dimension_indexes: vec![0; 4096],
            quantities: vec!["1".to_owned(); 4096],
        };
        let packed = proto::GetDetailedUsageResponse { packed_records: Some(packed), ..Default::default() };
        let (records, packed) = (records.encode_to_vec(), packed.encode_to_vec());
        let count = |message: &[u8]| {
            let mut seen = 0;
            let read = ReportMessage::read(message, |records| {
                records.each(|_| {
                    seen += 1;
                    Ok(())
                })
            });
            read.map(|read| (read.record_count, seen)).map_err(|error| error.to_string())
        };
        assert_eq!(count(&[records.as_slice(), &records].concat()), Ok((2, 2)));
        assert_eq!(count(&packed), Ok((4096, 4096)));
        for more in [[packed.as_slice(), &packed], [&records, &packed], [&packed, &records]] {
            let error = count(&more.concat()).expect_err("more than may be");
            assert!(error.contains("a message has packed records and others"), "{error}");
        }
    }
}
