//! What commands and servers that publish take.

use std::time::Duration;

use clap::Args as ClapArgs;

use crate::store::StoreConfig;

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct PublishArgs {
    /// How many seconds the clocks of this machine and of the database may differ, 1 to 86400. If they differ by more,
    /// nothing is published or purged.
    #[arg(
        long,
        env = "SCR_MAX_CLOCK_SKEW",
        default_value_t = 300,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        value_name = "SECONDS",
        help_heading = "Database"
    )]
    max_clock_skew: u64,
}

impl PublishArgs {
    pub(in crate::cli) fn max_clock_skew(&self) -> Duration {
        Duration::from_secs(self.max_clock_skew)
    }

    pub(in crate::cli) fn config(&self, database_url: &str) -> StoreConfig {
        StoreConfig { max_clock_skew: self.max_clock_skew(), ..StoreConfig::new(database_url) }
    }
}
