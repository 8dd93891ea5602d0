//! What an organization owes, and why that changed.

use std::path::PathBuf;

use clap::{ArgMatches, Args as ClapArgs, Command, FromArgMatches, builder::FalseyValueParser};

use super::{BreakdownArgs, CostsFormat, Format, ReadArgs};
use crate::model::{FocusVersion, Month, MonthRange, UtcTime};

/// `costs`, which shows costs where no command follows it.
#[derive(Debug)]
pub(in crate::cli) enum CostsCommand {
    Show(CostsArgs),
    Compare(CompareArgs),
}

const COMPARE: &str = "compare";

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct CostsArgs {
    /// Only this organization, by its id or by a name that only one organization has [default: all organizations that you
    /// may see, each for itself].
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME")]
    pub(in crate::cli) organization: Option<String>,
    /// Only this tenant of the organization, by its id or by a name that only one of its tenants has.
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME", requires = "organization")]
    pub(in crate::cli) tenant: Option<String>,
    /// The month (UTC), or the first of several.
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(in crate::cli) month: Month,
    /// The last month, at most 17 after the first [default: the value of `--month`].
    #[arg(long, env = "SCR_TO", value_name = "YYYY-MM")]
    pub(in crate::cli) to: Option<Month>,
    /// Use the usage, prices and statements as they were at this moment [default: now].
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(in crate::cli) as_of: Option<UtcTime>,
    /// Show what closed months would cost now, instead of what their statements have billed.
    #[arg(long, env = "SCR_CURRENT", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) current: bool,
    #[command(flatten)]
    pub(in crate::cli) breakdown: BreakdownArgs,
    /// The output format.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: CostsFormat,
    /// The version of FOCUS whose columns `--format focus` and `focus-parquet` have: `1.2` or `1.4`.
    #[arg(long, env = "SCR_FOCUS_VERSION", value_name = "VERSION", default_value_t = FocusVersion::V1_2)]
    pub(in crate::cli) focus_version: FocusVersion,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct CompareArgs {
    /// The organization, by its id or by a name that only one organization has.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME")]
    pub(in crate::cli) organization: String,
    /// Only this tenant of the organization, by its id or by a name that only one of its tenants has.
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME")]
    pub(in crate::cli) tenant: Option<String>,
    /// The month (UTC) to compare with. Required without `--prices` [default: the target, shown in the same way].
    #[arg(long, env = "SCR_BASE", value_name = "YYYY-MM", required_unless_present = "prices")]
    base: Option<Month>,
    /// The month (UTC) to explain.
    #[arg(long, env = "SCR_TARGET", value_name = "YYYY-MM")]
    target: Month,
    /// Compare several months, each target with a base of its own: the last target month, at most 17 after the first
    /// [default: the value of `--target`].
    #[arg(long, env = "SCR_TO", value_name = "YYYY-MM")]
    to: Option<Month>,
    /// Use the usage, prices and statements of the base as they were at this moment [default: now].
    #[arg(long, env = "SCR_BASE_AS_OF", value_name = "TIME")]
    base_as_of: Option<UtcTime>,
    /// Use the usage, prices and statements of the target as they were at this moment [default: now].
    #[arg(long, env = "SCR_TARGET_AS_OF", value_name = "TIME")]
    target_as_of: Option<UtcTime>,
    /// Show what a closed base would cost now, instead of what its statement has billed.
    #[arg(long, env = "SCR_BASE_CURRENT", value_parser = FalseyValueParser::new())]
    base_current: bool,
    /// Show what a closed target would cost now, instead of what its statement has billed.
    #[arg(long, env = "SCR_TARGET_CURRENT", value_parser = FalseyValueParser::new())]
    target_current: bool,
    /// Rate the target by a draft: a catalog file, as if its prices had been applied. Nothing is stored. What it says of
    /// organizations and tenants is ignored.
    #[arg(long, env = "SCR_PRICES", value_name = "FILE")]
    pub(in crate::cli) prices: Option<PathBuf>,
    /// How many of the assets that moved most to show, 0 to 100. 0 is faster: no record is read then.
    #[arg(long, env = "SCR_TOP", value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(..=100))]
    pub(in crate::cli) top: u16,
    /// The output format. A table leaves out what is unchanged; CSV has lines only.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

/// How the bills of a side are shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct SideArgs {
    pub(in crate::cli) as_of: Option<UtcTime>,
    pub(in crate::cli) current: bool,
}

// === impl CostsCommand ===

/// By hand: a derived one would ask for the options of `costs` where a variable sets one of them.
impl ClapArgs for CostsCommand {
    fn augment_args(command: Command) -> Command {
        // Behind the options: those that are flattened bring a text of their own.
        let compare = CompareArgs::augment_args(Command::new(COMPARE));
        CostsArgs::augment_args(command)
            .subcommand(compare.about("Say why a bill changed: two bills, line by line"))
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
            .disable_help_subcommand(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for CostsCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some((COMPARE, matches)) => CompareArgs::from_arg_matches(matches).map(Self::Compare),
            _ => CostsArgs::from_arg_matches(matches).map(Self::Show),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

// === impl CompareArgs ===

impl CompareArgs {
    /// The months to compare, each target with its base.
    pub(in crate::cli) fn months(&self) -> Result<Vec<(Month, Month)>, String> {
        let targets = MonthRange::new(self.target, self.to.unwrap_or(self.target));
        let targets = targets.map_err(|error| format!("--to: {error}"))?;
        let base = self.base.unwrap_or(self.target);
        let pairs = targets.iter().zip(0..).map(|(target, months)| {
            let base = base.shifted(months).ok_or_else(|| format!("--to: there is no base for {target}"))?;
            Ok((base, target))
        });
        pairs.collect()
    }

    /// How base and target are shown. Without a base, it is the target by the real prices.
    pub(in crate::cli) fn sides(&self) -> [SideArgs; 2] {
        let target = SideArgs { as_of: self.target_as_of, current: self.target_current };
        let base = match self.base {
            Some(_) => SideArgs { as_of: self.base_as_of, current: self.base_current },
            None => SideArgs {
                as_of: self.base_as_of.or(self.target_as_of),
                current: self.base_current || self.target_current,
            },
        };
        [base, target]
    }
}
