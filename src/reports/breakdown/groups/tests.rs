//! Sums by group against plain maps.

use std::{collections::BTreeMap, sync::Arc};

use bigdecimal::BigDecimal;
use proptest::prelude::*;

use super::*;
use crate::model::{AssetType, Meter, Month, Platform, RecordDimensions, TenantId, UtcTime};
use crate::store::{AssetKey, RecordRow, RecordRows};

/// A record by numbers: asset, meter, region, platform, trial, quantity in hundredths.
type Record = (i64, i64, i32, i32, bool, u128);

const METERS: i64 = 3;

fn meter(number: i64) -> Meter {
    let id = MeterId::from_uuid(uuid::Uuid::from_u128(number.unsigned_abs().into()));
    Meter { id, name: format!("m{number}"), unit: String::new() }
}

fn meters() -> Meters {
    Meters::for_test((1..=METERS).map(|number| (MeterKey::from_number(number), meter(number))))
}

/// Two assets of each type.
fn asset_type(asset: i64) -> AssetType {
    AssetType::from_code(i32::try_from(asset / 2 + 1).expect("few")).expect("a type")
}

fn month() -> Month {
    Month::new(2022, 2).expect("a month")
}

fn day(number: u32) -> NaiveDate {
    month().first_day() + chrono::Days::new(number.into())
}

fn rows(records: &[Record]) -> RecordRows {
    let midnight = UtcTime::midnight(month().first_day());
    let of = |&(asset, meter, region, platform, trial, _): &Record| StoredDimensions {
        asset_type: asset_type(asset),
        dimensions: RecordDimensions {
            platform: Platform::from_code(platform),
            trial,
            ..RecordDimensions::new(MeterKey::from_number(meter), midnight, midnight, region_of(region))
        },
    };
    let row = |(index, record): (usize, &Record)| RecordRow {
        row_number: i32::try_from(index + 1).expect("few"),
        asset: AssetKey::from_number(record.0),
        dimensions: index,
        quantity: Decimal::new(record.5, 2).expect("in range"),
    };
    RecordRows { dimensions: records.iter().map(of).collect(), rows: records.iter().enumerate().map(row).collect() }
}

fn region_of(code: i32) -> BillingRegion {
    BillingRegion::from_code(code).expect("a region")
}

/// A line for each meter and region, in order.
fn lines(records: &[Vec<Record>]) -> Vec<CostLine> {
    let mut sums: BTreeMap<(i64, i32), [u128; 3]> = BTreeMap::new();
    for &(_, meter, region, _, trial, quantity) in records.iter().flatten() {
        let line = sums.entry((meter, region)).or_default();
        line[usize::from(trial)] += quantity;
        line[2] += 1;
    }
    let amount = |hundredths: u128| BigDecimal::new(hundredths.into(), 2);
    let line = |((number, region), [billable, trial, count]): ((i64, i32), [u128; 3])| CostLine {
        month: month(),
        tenant_id: TenantId::from_uuid(uuid::Uuid::nil()),
        tenant_name: String::new(),
        plan: String::new(),
        meter: Arc::new(meter(number)),
        billing_region: region_of(region),
        quantity: amount(billable),
        trial_quantity: amount(trial),
        is_charged: true,
        tiers: Vec::new(),
        cost: None,
        rounding: None,
        record_count: i64::try_from(count).expect("few"),
    };
    sums.into_iter().map(line).collect()
}

fn records() -> impl Strategy<Value = Vec<Vec<Record>>> {
    let record = (0..6_i64, 1..=METERS, 1..=4, 0..=2, any::<bool>(), 0..100_000_u128);
    prop::collection::vec(prop::collection::vec(record, 1..40), 1..4)
}

/// What is not asked for is 0.
type Group = (u32, u32, u32, i32);

proptest! {
    /// Days of records, each a block, against a map of tuples.
    #[test]
    fn groups_are_those_of_a_plain_map(days in records(), codes in prop::collection::vec(1..=4, 0..4), left_out in 0..4) {
        let groups: CostGroups = codes.iter().copied().filter_map(CostGroup::from_code).collect();
        let lines = lines(&days);
        let is_wanted = |line: &CostLine| i32::from(line.billing_region.code()) != left_out;
        let numbers = LineNumbers::new(meters(), &lines, is_wanted).expect("few lines");
        let mut sums = GroupSums::new(groups, numbers, usize::MAX);
        let mut expected: BTreeMap<Group, [u128; 3]> = BTreeMap::new();
        for (number, records) in (0..).zip(&days) {
            for block in RecordBlock::of_rows(&rows(records)) {
                sums.add(&block, (day(number), UtcTime::midnight(day(number)))).expect("a sound block");
            }
            for &(asset, meter, region, platform, trial, quantity) in records {
                let line = lines.iter().position(|line| {
                    line.meter.name == format!("m{meter}") && line.billing_region == region_of(region)
                });
                let line = line.expect("a line");
                if !is_wanted(&lines[line]) {
                    continue;
                }
                let has = |group| groups.contains(group);
                let asset = match (has(CostGroup::Asset), has(CostGroup::AssetType)) {
                    (true, _) => u32::try_from(asset).expect("few"),
                    (false, true) => u32::try_from(asset_type(asset).code()).expect("a code"),
                    (false, false) => 0,
                };
                let day = if has(CostGroup::UsageDay) { number + 1 } else { 0 };
                let platform = if has(CostGroup::Platform) { platform } else { 0 };
                let group = (u32::try_from(line).expect("few"), asset, day, platform);
                let sum = expected.entry(group).or_default();
                sum[usize::from(trial)] += quantity;
                sum[2] += 1;
            }
        }
        // The ranks of assets are in the order of their keys.
        let ranks: Option<Vec<u32>> = sums.take_assets().map(|assets| {
            assets.keys().map(|key| u32::try_from(key.number()).expect("few")).collect()
        });
        let sorted = sums.sorted(ranks.as_deref());
        let mut found = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            found.extend(sorted.of_line(number).map(|total| {
                let GroupParts { line, asset, day, platform, .. } = total.key.parts();
                let hundredths = |sum: CompactSum| sum.units(2).expect("few digits");
                let sums = [hundredths(total.billable), hundredths(total.trial), total.record_count.into()];
                ((line, asset, day, platform.map_or(0, |platform| i32::from(platform.code()))), sums)
            }));
            if is_wanted(line) {
                prop_assert!(sorted.check(number, line).is_ok());
                let wrong = CostLine { record_count: line.record_count + 1, ..line.clone() };
                prop_assert!(sorted.check(number, &wrong).is_err());
                let wrong = CostLine { quantity: &line.quantity + BigDecimal::new(1.into(), 9), ..line.clone() };
                prop_assert!(sorted.check(number, &wrong).is_err());
            }
        }
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn there_is_an_end_to_groups_and_to_assets() {
    let day_of = |assets: std::ops::Range<i64>| assets.map(|asset| (asset % 6, 1, 1, 0, false, 1)).collect::<Vec<_>>();
    let records = day_of(0..6);
    let lines = lines(std::slice::from_ref(&records));
    let block = &RecordBlock::of_rows(&rows(&records))[0];
    let add = |groups: &[CostGroup], limit| {
        let numbers = LineNumbers::new(meters(), &lines, |_| true).expect("few lines");
        GroupSums::new(groups.iter().copied().collect(), numbers, limit).add(block, (day(0), UtcTime::midnight(day(0))))
    };
    assert!(add(&[CostGroup::Asset], 6).is_ok());
    assert!(matches!(add(&[CostGroup::Asset], 5), Err(ReportError::TooManyGroups)));
    assert!(add(&[CostGroup::AssetType], 3).is_ok());
    assert!(matches!(add(&[CostGroup::AssetType], 2), Err(ReportError::TooManyGroups)));
    // Usage that no line has.
    let numbers = LineNumbers::new(meters(), &[], |_| true).expect("few lines");
    let lost = GroupSums::new(CostGroups::default(), numbers, 9).add(block, (day(0), UtcTime::midnight(day(0))));
    assert!(matches!(lost, Err(ReportError::Store(StoreError::Corrupt(_)))));
}
