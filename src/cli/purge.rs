//! `purge`.

use std::time::Duration;

use super::{CommandError, args::PurgeArgs, database::Database, output::say};
use crate::{
    model::Month,
    store::{PurgeRules, present_month, purge},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn run(args: PurgeArgs) -> Result<(), CommandError> {
    let database = Database::open(&args.database).await?;
    let months_before = match args.keep_months {
        Some(count) => Some(months_earlier(present_month(&database.url).await?, count)?),
        None => None,
    };
    let rules = PurgeRules { superseded_for: args.superseded_days.map(|days| DAY * days), months_before };
    let purged = purge(&database.url, rules, args.publish.max_clock_skew(), args.dry_run).await?;
    let done = if args.dry_run { "would be purged" } else { "purged" };
    for (month, records) in &purged.months {
        say!("{month}: {} records of {} loads {done}", records.records, records.loads)?;
    }
    if args.keep_months.is_some() && purged.months.is_empty() {
        say!("there are no old months to purge")?;
    }
    if args.superseded_days.is_some() {
        let records = purged.superseded;
        say!("superseded: {} records of {} loads {done}", records.records, records.loads)?;
    }
    if purged.unpublished > 0 {
        say!("imports that did not come to their end: {} records {done}", purged.unpublished)?;
    }
    if purged.assets > 0 {
        say!("assets: {} without records purged", purged.assets)?;
    }
    Ok(())
}

/// The month `count` months before another one.
fn months_earlier(month: Month, count: u32) -> Result<Month, String> {
    let months = i64::from(month.year()) * 12 + i64::from(month.number()) - 1 - i64::from(count);
    let (year, number) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let narrow = |number: i64| i32::try_from(number).unwrap_or(0);
    Month::new(narrow(year), narrow(number)).map_err(|error| error.to_string())
}
