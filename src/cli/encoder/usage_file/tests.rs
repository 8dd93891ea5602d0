//! Files of Parquet, as another reader finds them.

use std::collections::HashMap;

use arrow_array::{Array, RecordBatch, cast::AsArray as _, types as arrow};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use proptest::prelude::*;

use super::*;
use crate::{
    contract::{decimal_text, usage_schema},
    model::{
        Asset, AssetType, BillingRegion, Column, Decimal, DecimalForm, Meter, RecordDimensions, UsageRecord, UtcTime,
        arbitrary, plain,
    },
};

const FORM: DecimalForm = DecimalForm { scale: 18, is_wide: false };

fn columns(record: &UsageRecord, quantities: DecimalForm) -> UsageColumns {
    UsageColumns {
        schema: usage_schema(quantities, HashMap::from([("revision".to_owned(), "ab".to_owned())])),
        quantities,
        organization_id: record.organization_id,
        tenant_id: record.tenant_id,
    }
}

/// A file of batches.
fn file(batches: &[Vec<UsageRecord>], quantities: DecimalForm) -> io::Result<Bytes> {
    let mut out = Vec::new();
    let mut file = UsageFile::new(&columns(&batches[0][0], quantities), &mut out)?;
    let mut batch = UsageBatch::default();
    for records in batches {
        batch.clear();
        records.iter().for_each(|record| batch.push(record));
        file.write(&batch)?;
    }
    file.finish()?;
    Ok(out.into())
}

fn groups(file: &Bytes) -> Vec<RowGroupMetaData> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).expect("a file");
    reader.metadata().row_groups().to_vec()
}

/// Rows of text as the report writes them, by the library's reader.
fn rows(file: &Bytes, quantities: DecimalForm) -> Vec<Vec<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).expect("a file");
    let metadata = reader.metadata().file_metadata().key_value_metadata().expect("metadata");
    assert!(metadata.iter().any(|entry| entry.key == "revision" && entry.value.as_deref() == Some("ab")));
    assert_eq!(reader.schema().fields(), usage_schema(quantities, HashMap::new()).fields());
    let batches = reader.build().expect("a reader").map(|batch| batch.expect("a batch"));
    let row = |batch: &RecordBatch, row| batch.columns().iter().map(|column| text(column, row)).collect();
    batches.flat_map(|batch| (0..batch.num_rows()).map(|at| row(&batch, at)).collect::<Vec<_>>()).collect()
}

fn text(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    if let Some(decimal) = decimal_text(column, row) {
        return plain(&decimal.parse().expect("a decimal"));
    }
    if let Some(flags) = column.as_boolean_opt() {
        return if flags.value(row) { "TRUE" } else { "FALSE" }.to_owned();
    }
    if let Some(times) = column.as_primitive_opt::<arrow::TimestampMicrosecondType>() {
        return UtcTime::from_unix_micros(times.value(row)).expect("in range").to_string();
    }
    let (position, values) = match column.as_dictionary_opt::<arrow::Int8Type>() {
        Some(texts) => (texts.keys().value(row) as usize, texts.values()),
        None => {
            let texts = column.as_dictionary::<arrow::Int32Type>();
            (texts.keys().value(row) as usize, texts.values())
        }
    };
    values.as_string::<i32>().value(position).to_owned()
}

fn expected(records: &[UsageRecord]) -> Vec<Vec<String>> {
    let row = |record: &UsageRecord| {
        let mut row: Vec<String> = record
            .values()
            .iter()
            .map(|value| {
                let mut text = Vec::new();
                value.write_to(&mut text);
                String::from_utf8(text).expect("UTF-8")
            })
            .collect();
        row[Column::Quantity.index()] = plain(&record.quantity.to_big());
        row
    };
    records.iter().map(row).collect()
}

fn fits(quantity: Decimal, form: DecimalForm) -> bool {
    if form.is_wide { form.wide_units(quantity).is_some() } else { form.units(quantity).is_some() }
}

proptest! {
    #[test]
    fn a_file_has_the_records(
        records in arbitrary::records(), repeats in prop::collection::vec(1..30_usize, 1..12), size in 1..200_usize,
        scale in prop_oneof![Just(18_u8), Just(38), 0..=38_u8], is_wide in any::<bool>(),
    ) {
        let quantities = DecimalForm { scale, is_wide };
        let runs = records.iter().zip(repeats.iter().cycle());
        let records: Vec<UsageRecord> = runs.flat_map(|(record, &count)| vec![record.clone(); count]).collect();
        let batches: Vec<_> = records.chunks(size).map(<[_]>::to_vec).collect();
        match file(&batches, quantities) {
            Ok(file) => prop_assert_eq!(rows(&file, quantities), expected(&records)),
            Err(error) => {
                prop_assert!(records.iter().any(|record| !fits(record.quantity, quantities)), "{}", error);
                prop_assert_eq!(error.to_string(), "a quantity has more digits than the column");
            }
        }
    }
}

/// Records of days, so many of each.
fn days(counts: &[usize]) -> Vec<UsageRecord> {
    let mut records = Vec::new();
    for (day, &count) in counts.iter().enumerate() {
        let start = i64::try_from(day).expect("few") * 86_400_000_000;
        let time = |micros| UtcTime::from_unix_micros(micros).expect("in range");
        let meter = Meter {
            id: "aa000000-0000-4000-8000-000000000001".parse().expect("an id"),
            name: "m".to_owned(),
            unit: String::new(),
        };
        let dimensions = RecordDimensions::new(Arc::new(meter), time(start), time(start + 1), BillingRegion::Eu);
        records.extend((0..count).map(|n| UsageRecord {
            organization_id: "aa000000-0000-4000-8000-000000000002".parse().expect("an id"),
            tenant_id: "aa000000-0000-4000-8000-000000000003".parse().expect("an id"),
            asset: Arc::new(Asset { asset_type: AssetType::User, id: format!("{:05}", n / 3), name: String::new() }),
            dimensions: dimensions.clone(),
            quantity: Decimal::new(n as u128 + 1, 2).expect("in range"),
        }));
    }
    records
}

#[test]
fn row_groups_end_with_days_and_say_what_they_have() {
    let records = days(&[100_000, 20_000, 3, 16_381, 5, 1]);
    let batches: Vec<_> = records.chunks(4096).map(<[_]>::to_vec).collect();
    let file = file(&batches, FORM).expect("a file");
    assert!(rows(&file, FORM) == expected(&records));
    let groups = groups(&file);
    assert_eq!(groups.iter().map(RowGroupMetaData::num_rows).collect::<Vec<_>>(), [100_000, 20_000, 16_384, 6]);
    let statistics = |group: usize, column: Column| groups[group].column(column.index()).statistics().expect("some");
    let Statistics::Int64(starts) = statistics(3, Column::Start) else { panic!("times") };
    assert_eq!((starts.min_opt(), starts.max_opt()), (Some(&345_600_000_000), Some(&432_000_000_000)));
    let Statistics::ByteArray(ids) = statistics(0, Column::AssetId) else { panic!("texts") };
    let text = |text: Option<&parquet::data_type::ByteArray>| text.expect("one").as_utf8().expect("UTF-8").to_owned();
    assert_eq!((text(ids.min_opt()), text(ids.max_opt())), ("00000".to_owned(), "33333".to_owned()));
    let Statistics::ByteArray(platforms) = statistics(0, Column::Platform) else { panic!("texts") };
    assert_eq!((platforms.min_opt(), platforms.null_count_opt()), (None, Some(100_000)));
    let units = |group, most: i128| {
        let found = statistics(group, Column::Quantity);
        let bytes = |cents: i128| (cents * 10_i128.pow(16)).to_be_bytes().to_vec();
        assert_eq!((found.min_bytes_opt(), found.max_bytes_opt()), (Some(&bytes(1)[..]), Some(&bytes(most)[..])));
    };
    units(0, 100_000);
    units(2, 16_381);
    let Statistics::Boolean(trials) = statistics(0, Column::Trial) else { panic!("flags") };
    assert_eq!((trials.min_opt(), trials.max_opt()), (Some(&false), Some(&false)));
}

#[test]
fn row_groups_of_long_texts_are_short() {
    let mut records = days(&[50]);
    for (n, record) in records.iter_mut().enumerate() {
        let name = format!("{n:02}").repeat(500_000);
        record.asset = Arc::new(Asset { name, ..(*record.asset).clone() });
    }
    let file = file(&[records.clone()], FORM).expect("a file");
    assert_eq!(groups(&file).iter().map(RowGroupMetaData::num_rows).collect::<Vec<_>>(), [34, 16]);
    assert!(rows(&file, FORM) == expected(&records));
}
