//! A large month, as it is in the field: whole hours of assets, and their bandwidth hour by hour, in GiB with six decimals.
//! The same rows every time, in no order of the report's.

use std::{fs::File, ops::Range, path::Path, sync::Arc};

use chrono::{Days, NaiveDate};
use flate2::{Compression, write::GzEncoder};

use crate::{
    cli::CommandError,
    contract::{CsvFormat, CsvWriter},
    model::{Asset, AssetType, BillingRegion, Decimal, Meter, Month, Platform, RecordDimensions, UsageRecord, UtcTime},
};

/// Users, endpoints and gateways of the tenant; each has usage in every hour.
const ASSETS: u64 = 432;
/// The most that an asset sends and receives in an hour, in millionths of a GiB.
const MAX_MICRO_GIB: u64 = 750_000;
const MICROS_PER_HOUR: i64 = 3_600_000_000;
const LARGE_TENANT_ID: &str = "66d25a63-01bc-5d7b-afec-2f2ca8c14984";

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

/// An asset with what all its records have in common.
struct Source {
    asset: Arc<Asset>,
    billing_region: BillingRegion,
    platform: Platform,
    hours: Arc<Meter>,
    /// The fewest and the most hours that it is there on a day.
    hours_a_day: (u64, u64),
}

/// Writes the usage of the sample catalog's large tenant in March 2022, and returns how many rows it has.
pub(super) fn write_month(path: &Path) -> Result<u64, CommandError> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::create(path).map_err(failed)?;
    let mut csv = CsvWriter::new(GzEncoder::new(file, Compression::fast()), CsvFormat::default());
    csv.write_header().map_err(failed)?;
    let month: Month = super::LARGE_MONTH.parse()?;
    let mut numbers = Numbers(2022);
    let bandwidth = meter("bandwidth_gib_essentials", "4ad39f2e-83e6-4885-8034-1bf90dfed84a")?;
    let sources: Vec<Source> = (0..ASSETS).map(|n| source(n, &mut numbers)).collect::<Result<_, _>>()?;
    let tenant = tenant()?;
    let mut rows = 0;
    let mut day = month.first_day();
    while Month::of(day) == Some(month) {
        let mut records = vec![hours(&tenant, day, &mut numbers)?];
        for source in &sources {
            records.push(hours(source, day, &mut numbers)?);
            for hour in 0..24 {
                let quantity = amount(numbers.below(MAX_MICRO_GIB), 6)?;
                records.push(record(source, &bandwidth, day, hour..hour + 1, quantity)?);
            }
        }
        for record in &records {
            csv.write(record).map_err(failed)?;
            rows += 1;
        }
        day = day + Days::new(1);
    }
    csv.into_inner().and_then(GzEncoder::finish).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(rows)
}

fn source(n: u64, numbers: &mut Numbers) -> Result<Source, CommandError> {
    let (asset_type, id, name) = match n % 3 {
        0 => (AssetType::User, format!("user{n:05}@contoso.com"), format!("User {n}")),
        1 => (AssetType::Endpoint, format!("ep-{n:05}"), format!("Endpoint {n}")),
        _ => (AssetType::Gateway, format!("gw-{n:05}"), format!("Gateway {n}")),
    };
    let (hours, hours_a_day) = match asset_type {
        AssetType::User => (meter("user_hours_essentials", "4b400c00-9e3b-59ed-b541-4ee514da78c7"), (1, 12)),
        AssetType::Endpoint => (meter("endpoint_hours_essentials", "de372c67-00c8-5323-a300-46176d0f6a86"), (12, 24)),
        _ => (meter("gateway_hours_essentials", "606ce6b5-6417-5887-b6a1-f32e19ab01fd"), (24, 24)),
    };
    Ok(Source {
        asset: Arc::new(Asset { asset_type, id, name }),
        billing_region: numbers.pick(BillingRegion::ALL),
        platform: numbers.pick(Platform::ALL),
        hours: hours?,
        hours_a_day,
    })
}

fn tenant() -> Result<Source, CommandError> {
    let asset =
        Asset { asset_type: AssetType::Tenant, id: LARGE_TENANT_ID.to_owned(), name: super::LARGE_TENANT.to_owned() };
    Ok(Source {
        asset: Arc::new(asset),
        billing_region: BillingRegion::Na,
        platform: Platform::Mcp,
        hours: meter("tenant_hours_essentials", "dbceb135-90be-569f-8166-6e3d1441ffac")?,
        hours_a_day: (24, 24),
    })
}

/// The whole hours of an asset on a day.
fn hours(source: &Source, day: NaiveDate, numbers: &mut Numbers) -> Result<UsageRecord, CommandError> {
    let (least, most) = source.hours_a_day;
    let quantity = amount(least + numbers.below(most - least + 1), 0)?;
    record(source, &source.hours, day, 0..24, quantity)
}

fn record(
    source: &Source,
    meter: &Arc<Meter>,
    day: NaiveDate,
    hours: Range<i64>,
    quantity: Decimal,
) -> Result<UsageRecord, CommandError> {
    let midnight = UtcTime::midnight(day).unix_micros();
    let time = |hour| UtcTime::from_unix_micros(midnight + hour * MICROS_PER_HOUR).ok_or("a time of no year");
    let (start, end) = (time(hours.start)?, time(hours.end)?);
    let platform = meter.name.starts_with("bandwidth_").then_some(source.platform);
    Ok(UsageRecord {
        organization_id: super::CONTOSO.parse()?,
        tenant_id: LARGE_TENANT_ID.parse()?,
        asset: Arc::clone(&source.asset),
        dimensions: RecordDimensions {
            platform,
            ..RecordDimensions::new(Arc::clone(meter), start, end, source.billing_region)
        },
        quantity,
    })
}

fn amount(units: u64, scale: u8) -> Result<Decimal, CommandError> {
    Ok(Decimal::new(units.into(), scale).ok_or("a generated quantity is too long")?)
}

fn meter(name: &str, id: &str) -> Result<Arc<Meter>, CommandError> {
    Ok(Arc::new(Meter { id: id.parse()?, name: name.to_owned(), unit: String::new() }))
}
