//! Lists beside that of tenants.

use clap::Args as ClapArgs;

use super::{Format, ReadArgs};
use crate::model::{Currency, Month, UtcTime};

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct PricesArgs {
    /// The month (UTC).
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(in crate::cli) month: Month,
    /// Only prices in this currency (ISO 4217) [default: in every currency].
    #[arg(long, env = "SCR_CURRENCY", value_name = "CODE")]
    pub(in crate::cli) currency: Option<Currency>,
    /// Only prices of this meter, by its name [default: of every meter].
    #[arg(long, env = "SCR_METER", value_name = "NAME")]
    pub(in crate::cli) meter: Option<String>,
    /// Use the price lists as they were at this moment [default: now].
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(in crate::cli) as_of: Option<UtcTime>,
    /// The output format. CSV has a row for each tier.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct OrganizationsArgs {
    /// The output format.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct TenantArgs {
    /// The tenant, by its id or by a name that only one tenant has.
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME")]
    pub(in crate::cli) tenant: String,
    /// Show the months as they were at this moment [default: now].
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(in crate::cli) as_of: Option<UtcTime>,
    /// The output format.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct LoadsArgs {
    /// The tenant, by its id or by a name that only one tenant has.
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME")]
    pub(in crate::cli) tenant: String,
    /// The month (UTC).
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(in crate::cli) month: Month,
    /// Show the loads as they were at this moment [default: now].
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(in crate::cli) as_of: Option<UtcTime>,
    /// The output format.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}
