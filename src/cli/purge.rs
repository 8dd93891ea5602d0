//! `purge`.

use std::time::Duration;

use chrono::Datelike as _;

use super::{CommandError, args::PurgeArgs, database::Database};
use crate::{
    model::Month,
    store::{PurgeRules, purge},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn run(args: PurgeArgs) -> Result<(), CommandError> {
    let database = Database::open(&args.database).await?;
    let rules = PurgeRules {
        superseded_for: args.superseded_days.map(|days| DAY * days),
        months_before: args.keep_months.map(first_kept_month).transpose()?,
    };
    let purged = purge(&database.url, rules, args.dry_run).await?;
    let done = if args.dry_run { "would be purged" } else { "purged" };
    for (month, records) in &purged.months {
        println!("{month}: {} records of {} loads {done}", records.records, records.loads);
    }
    if args.keep_months.is_some() && purged.months.is_empty() {
        println!("no month is older than those that are kept");
    }
    if args.superseded_days.is_some() {
        let records = purged.superseded;
        println!("superseded: {} records of {} loads {done}", records.records, records.loads);
    }
    if purged.assets > 0 {
        println!("assets: {} that no record is left of purged", purged.assets);
    }
    Ok(())
}

/// The first of the months that are kept: the present one (UTC) and so many before it.
fn first_kept_month(before_this: u32) -> Result<Month, String> {
    let today = chrono::Utc::now().date_naive();
    let months = i64::from(today.year()) * 12 + i64::from(today.month0()) - i64::from(before_this);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let number = |number: i64| i32::try_from(number).unwrap_or(0);
    Month::new(number(year), number(month)).map_err(|error| error.to_string())
}
