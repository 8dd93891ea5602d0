//! A large month: the same rows every time, in no order of the report's.

use std::{fs::File, path::Path, sync::Arc};

use chrono::{Days, NaiveDate};
use flate2::{Compression, write::GzEncoder};

use crate::{
    cli::CommandError,
    contract::{CsvFormat, CsvWriter},
    model::{Asset, AssetType, BillingRegion, Decimal, Meter, Month, Platform, RecordDimensions, UsageRecord, UtcTime},
};

/// Assets of the tenant; each has usage on every day.
const ASSETS: u64 = 3600;
const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// A stream of numbers that look random (SplitMix64, Steele et al. 2014).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        let index = self.below(values.len() as u64);
        values[usize::try_from(index).unwrap_or(0)]
    }
}

/// Writes the usage of the sample catalog's large tenant in March 2022, and returns how many rows it has.
pub(super) fn write_month(path: &Path) -> Result<u64, CommandError> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::create(path).map_err(failed)?;
    let mut csv = CsvWriter::new(GzEncoder::new(file, Compression::fast()), CsvFormat::default());
    csv.write_header().map_err(failed)?;
    let month: Month = super::LARGE_MONTH.parse()?;
    let mut numbers = Numbers(2022);
    let assets: Vec<(Arc<Asset>, BillingRegion)> = (0..ASSETS).map(|n| asset(n, &mut numbers)).collect();
    let mut rows = 0;
    let mut day = month.first_day();
    while Month::of(day) == Some(month) {
        for (asset, region) in &assets {
            for record in records(asset, *region, day, &mut numbers)? {
                csv.write(&record).map_err(failed)?;
                rows += 1;
            }
        }
        day = day + Days::new(1);
    }
    csv.into_inner().and_then(GzEncoder::finish).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(rows)
}

fn asset(n: u64, numbers: &mut Numbers) -> (Arc<Asset>, BillingRegion) {
    let (asset_type, id, name) = match n % 3 {
        0 => (AssetType::User, format!("user{n:05}@contoso.com"), format!("User {n}, Global")),
        1 => (AssetType::Endpoint, format!("ep-{n:05}"), format!("Endpoint {n}")),
        _ => (AssetType::Gateway, format!("gw-{n:05}"), format!("Gateway \"{n}\"")),
    };
    let region = numbers.pick(BillingRegion::ALL);
    (Arc::new(Asset { asset_type, id, name }), region)
}

/// Hours and bandwidth of an asset on a day, in two or four periods.
fn records(
    asset: &Arc<Asset>,
    billing_region: BillingRegion,
    day: NaiveDate,
    numbers: &mut Numbers,
) -> Result<Vec<UsageRecord>, CommandError> {
    let hours = match asset.asset_type {
        AssetType::User => meter("user_hours_essentials", "4b400c00-9e3b-59ed-b541-4ee514da78c7"),
        _ => meter("endpoint_hours_essentials", "de372c67-00c8-5323-a300-46176d0f6a86"),
    }?;
    let bandwidth = meter("bandwidth_gib_essentials", "4ad39f2e-83e6-4885-8034-1bf90dfed84a")?;
    let midnight = UtcTime::midnight(day).unix_micros();
    let mut records = Vec::with_capacity(3);
    let mut add = |meter: &Arc<Meter>, start_hour: i64, end_hour: i64, quantity, platform| {
        let time = |hour| UtcTime::from_unix_micros(midnight + hour * MICROS_PER_HOUR);
        if let (Some(start), Some(end)) = (time(start_hour), time(end_hour)) {
            records.push(UsageRecord {
                organization_id: super::CONTOSO.parse()?,
                tenant_id: "66d25a63-01bc-5d7b-afec-2f2ca8c14984".parse()?,
                asset: Arc::clone(asset),
                dimensions: RecordDimensions {
                    platform,
                    ..RecordDimensions::new(Arc::clone(meter), start, end, billing_region)
                },
                quantity,
            });
        }
        Ok::<(), CommandError>(())
    };
    let mut amount = |whole: u64, scale: u8| {
        let units = u128::from(numbers.below(whole * 10_u64.pow(u32::from(scale))));
        Decimal::new(units, scale).ok_or("a generated quantity is too long")
    };
    add(&hours, 0, 24, amount(24, 4)?, None)?;
    add(&bandwidth, 0, 12, amount(2, 6)?, Some(Platform::Mcp))?;
    add(&bandwidth, 12, 24, amount(2, 6)?, Some(Platform::Azure))?;
    Ok(records)
}

fn meter(name: &str, id: &str) -> Result<Arc<Meter>, CommandError> {
    Ok(Arc::new(Meter { id: id.parse()?, name: name.to_owned(), unit: String::new() }))
}
