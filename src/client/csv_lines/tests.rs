//! The fast way against the plain one.

use proptest::prelude::*;

use super::*;
use crate::{
    client::{packed_records::PackedRecords, packing::packed},
    contract::LineEnd,
    model::{DecimalSum, UsageRecord, arbitrary},
};

fn format() -> impl Strategy<Value = CsvFormat> {
    let line_end = prop::sample::select(vec![LineEnd::Lf, LineEnd::Crlf]);
    (line_end, any::<bool>()).prop_map(|(line_end, neutralize_formulas)| CsvFormat {
        line_end,
        neutralize_formulas,
        ..CsvFormat::default()
    })
}

fn plain(records: &[UsageRecord], format: CsvFormat) -> String {
    let mut csv = CsvWriter::new(Vec::new(), format);
    records.iter().for_each(|record| csv.write(record).expect("room"));
    String::from_utf8(csv.into_inner().expect("room")).expect("UTF-8")
}

/// Lines, what they added up to, and how many went the plain way.
fn lines(encoded: &[Vec<u8>], format: CsvFormat) -> (String, u64, usize) {
    let mut lines = CsvLines::new(format);
    let mut out = Vec::new();
    let mut slow = 0;
    for record in encoded {
        let before = out.len();
        if lines.write_fast(record, &mut out).is_none() {
            out.truncate(before);
            lines.write_plain(record, &mut out).expect("a sound record");
            slow += 1;
        }
    }
    let count = lines.totals().map(|(_, total)| total.record_count).sum();
    (String::from_utf8(out).expect("UTF-8"), count, slow)
}

proptest! {
    #[test]
    fn packed_records_are_the_same_lines(
        records in arbitrary::records(), format in format(), unusual in any::<bool>(),
    ) {
        let message = packed(&records, unusual);
        let mut lines = CsvLines::new(format);
        let mut out = Vec::new();
        // Twice, so that what is remembered is used.
        for _ in 0..2 {
            out.clear();
            lines.write_packed(&PackedRecords::read(&message).expect("sound"), &mut out).expect("sound records");
        }
        prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), plain(&records, format));
        let encoded: Vec<_> = records.iter().map(|record| proto::UsageRecord::from(record).encode_to_vec()).collect();
        let mut expected = CsvLines::new(format);
        for record in encoded.iter().chain(&encoded) {
            expected.write(record, &mut Vec::new()).expect("a sound record");
        }
        let sums = |lines: &CsvLines| {
            let mut sums: Vec<_> = lines.checkpoint().iter().map(|sum| format!("{sum:?}")).collect();
            sums.sort();
            sums
        };
        prop_assert_eq!(sums(&lines), sums(&expected));
    }

    #[test]
    fn both_ways_write_the_same(records in arbitrary::records(), format in format()) {
        let encoded: Vec<_> = records.iter().map(|record| proto::UsageRecord::from(record).encode_to_vec()).collect();
        let count = records.len() as u64;
        prop_assert_eq!(lines(&encoded, format), (plain(&records, format), count, 0));
        let mut by_meter = DecimalSum::default();
        records.iter().for_each(|record| by_meter.add(record.quantity));
        let mut fast = CsvLines::new(format);
        encoded.iter().for_each(|record| fast.write(record, &mut Vec::new()).expect("a sound record"));
        let total = fast.totals().map(|(_, total)| total.quantity.total()).sum::<bigdecimal::BigDecimal>();
        prop_assert_eq!(total, by_meter.total());
    }

    /// Fields that are new, that come twice or in another order: the last of each counts, and what is new is left out.
    #[test]
    fn what_is_unusual_goes_the_plain_way(
        records in arbitrary::records(), format in format(), extra in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let encoded: Vec<_> = records
            .iter()
            .enumerate()
            .map(|(index, record)| {
                let message = proto::UsageRecord::from(record);
                match index % 4 {
                    0 => message.encode_to_vec(),
                    // An unknown field of bytes, 1000 << 3 | 2.
                    1 => [message.encode_to_vec(), vec![0xc2, 0x3e, extra.len() as u8], extra.clone()].concat(),
                    2 => [records[0].clone()].iter().flat_map(|first| {
                        [proto::UsageRecord::from(first).encode_to_vec(), message.encode_to_vec()].concat()
                    }).collect(),
                    _ => {
                        let late = proto::UsageRecord { asset_name: message.asset_name.clone(), ..Default::default() };
                        let early = proto::UsageRecord { asset_name: String::new(), ..message.clone() };
                        [early.encode_to_vec(), late.encode_to_vec()].concat()
                    }
                }
            })
            .collect();
        // Two records one after the other are one, of the fields that come last.
        let expected: Vec<UsageRecord> = encoded
            .iter()
            .map(|bytes| {
                let message = proto::UsageRecord::decode(bytes.as_slice()).expect("sound");
                RecordReader::default().read(message).expect("sound")
            })
            .collect();
        let (text, count, _) = lines(&encoded, format);
        prop_assert_eq!(text, plain(&expected, format));
        prop_assert_eq!(count, records.len() as u64);
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error_and_never_a_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        let mut lines = CsvLines::new(CsvFormat::default());
        let sound = proto::UsageRecord::decode(bytes.as_slice())
            .is_ok_and(|message| RecordReader::default().read(message).is_ok());
        prop_assert_eq!(lines.write(&bytes, &mut out).is_ok(), sound);
    }

    #[test]
    fn damage_is_never_overlooked(
        records in arbitrary::records(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut bytes = proto::UsageRecord::from(&records[0]).encode_to_vec();
        let sound = bytes.clone();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        let mut lines = CsvLines::new(CsvFormat::default());
        // What is remembered of a sound record must not make a damaged one sound.
        lines.write(&sound, &mut Vec::new()).expect("sound");
        let mut out = Vec::new();
        let expected = proto::UsageRecord::decode(bytes.as_slice())
            .ok()
            .and_then(|message| RecordReader::default().read(message).ok());
        let result = lines.write(&bytes, &mut out);
        match expected {
            None => prop_assert!(result.is_err()),
            Some(record) => {
                prop_assert!(result.is_ok());
                prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), plain(&[record], CsvFormat::default()));
            }
        }
    }
}
