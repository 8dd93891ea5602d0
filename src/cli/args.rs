//! What the command line takes. Every option has an environment variable of its own name.

mod client;
mod limits;
mod serve;

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{
    Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::FalseyValueParser,
};
use secrecy::SecretString;

pub(super) use client::{ReadArgs, ServerArgs};
use limits::LimitsArgs;
pub(super) use serve::ServeArgs;

use crate::{
    auth::Role,
    model::{AssetType, BillingRegion, Month, OrganizationId, Source, TenantId, UsageDay, UtcTime},
    store::Grant,
    telemetry::logs,
};

/// What tokens for development say, unless something else is asked for. The name is nobody's (RFC 2606).
pub(super) const DEVELOPMENT_ISSUER: &str = "https://development.invalid";
pub(super) const DEVELOPMENT_AUDIENCE: &str = "secure-connect-reports";

/// Tells what Secure Connect tenants used and what it costs, to the last digit.
#[derive(Debug, Parser)]
#[command(name = "secure-connect-reports", version, about, max_term_width = 120)]
pub(super) struct Args {
    /// What to log: a level, or directives such as `info,tonic=debug`.
    #[arg(long, global = true, help_heading = "Log", env = "SCR_LOG", value_name = "DIRECTIVES")]
    pub(super) log: Option<String>,
    /// How log lines look.
    #[arg(long, global = true, help_heading = "Log", env = "SCR_LOG_FORMAT", value_enum, default_value_t)]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// Reads the command line and the environment. An empty variable is as good as none: compose files make such.
    pub(super) fn read() -> Self {
        let matches = without_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

impl From<LogFormat> for logs::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Pretty => Self::Pretty,
            LogFormat::Json => Self::Json,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve reports over gRPC.
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date.
    Migrate(MigrateArgs),
    /// Organizations, tenants, meters and price lists.
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Import usage from CSV files, as one delivery: all of it is published, or nothing.
    Import(ImportArgs),
    /// Take back what a source has delivered for a tenant's day: the day becomes empty.
    Withdraw(WithdrawArgs),
    /// Delete records that need not be kept: of superseded loads, and of old months. Bills stay as they are.
    Purge(PurgeArgs),
    /// List the tenants that you may see.
    Tenants(TenantsArgs),
    /// Download what each asset of a tenant used in a month, as CSV.
    Usage(Box<UsageArgs>),
    /// Show what an organization owes, and why.
    Costs(CostsArgs),
    /// Ask a server whether it is SERVING; exit code 0 when it is.
    Healthcheck(ServerArgs),
    /// Make a token for development, signed by a key of one's own.
    Token(TokenArgs),
    /// Show all of it on this machine, from nothing: a private PostgreSQL, sample data, reports.
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// Create or update what a TOML or JSON file names: all of it, or nothing.
    Apply(CatalogApplyArgs),
}

/// Which database.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct DatabaseArgs {
    /// The PostgreSQL database, as a URL or key-value string. Unset: a private PostgreSQL below --data-dir.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = "Database")]
    pub(super) database_url: Option<SecretString>,
    /// Where the private PostgreSQL is kept [default: /var/lib/secure-connect-reports for root, else
    /// ~/.local/share/secure-connect-reports].
    #[arg(long, env = "SCR_DATA_DIR", value_name = "DIR", help_heading = "Database")]
    pub(super) data_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct MigrateArgs {
    /// Give a role the rights to serve reports (reader=ROLE) or to import (writer=ROLE); it is created where it is
    /// missing. Give it again after each upgrade.
    #[arg(long, env = "SCR_GRANT_TO", value_delimiter = ',', value_name = "reader=ROLE|writer=ROLE")]
    pub(super) grant_to: Vec<Grant>,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct TokenArgs {
    /// An organization that the token is for, by its id; * stands for all.
    #[arg(long, env = "SCR_ORGANIZATION", required = true, value_delimiter = ',', value_name = "ID|*")]
    pub(super) organization: Vec<TokenOrganization>,
    /// A role that the token gives: Reports or UsageImport.
    #[arg(long, env = "SCR_ROLE", default_value = "Reports", value_delimiter = ',', value_name = "ROLE")]
    pub(super) role: Vec<Role>,
    /// Who calls [default: the name of this account].
    #[arg(long, env = "SCR_SUBJECT", value_name = "NAME")]
    pub(super) subject: Option<String>,
    /// How long the token is good for.
    #[arg(long, env = "SCR_EXPIRES_IN_SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=315_360_000), value_name = "SECONDS")]
    pub(super) expires_in_seconds: u64,
    /// The `iss` of the token.
    #[arg(long, env = "SCR_OIDC_ISSUER", default_value = DEVELOPMENT_ISSUER, value_name = "URL")]
    pub(super) issuer: String,
    /// The `aud` of the token.
    #[arg(long, env = "SCR_AUDIENCE", default_value = DEVELOPMENT_AUDIENCE, value_delimiter = ',', value_name = "NAME")]
    pub(super) audience: Vec<String>,
    /// Where the key is kept, and made where there is none [default:
    /// secure-connect-reports-development-key beside the default --data-dir].
    #[arg(long, env = "SCR_KEY_DIR", value_name = "DIR")]
    pub(super) key_dir: Option<PathBuf>,
}

/// An organization's id, or `*`.
#[derive(Clone, Debug)]
pub(super) struct TokenOrganization(pub(super) String);

impl FromStr for TokenOrganization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let id: OrganizationId =
            text.parse().map_err(|error| format!("neither * nor the id of an organization: {error}"))?;
        Ok(Self(id.to_string()))
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct CatalogApplyArgs {
    /// A `.toml` or `.json` file.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct ImportArgs {
    /// CSV files in the report's own format, plain or compressed with gzip or zstd; `-` is standard input. A tenant's day may
    /// lie in several of them.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Who delivers: a later delivery of a tenant's day supersedes the one before from the same source.
    #[arg(long, env = "SCR_SOURCE", default_value = "default", value_name = "NAME")]
    pub(super) source: Source,
    /// The files are the whole of all the days that they have rows of, for all the organizations that they have rows of: what
    /// the source has delivered before for these, and is not in the files, is withdrawn.
    #[arg(long, env = "SCR_COMPLETE", value_parser = FalseyValueParser::new())]
    pub(super) complete: bool,
    /// Check everything and say what would be done, without doing it.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct WithdrawArgs {
    /// The tenant, by its id.
    #[arg(long, env = "SCR_TENANT", value_name = "ID")]
    pub(super) tenant: TenantId,
    /// The day (UTC).
    #[arg(long, env = "SCR_DAY", value_name = "YYYY-MM-DD")]
    pub(super) day: UsageDay,
    /// Who has delivered it.
    #[arg(long, env = "SCR_SOURCE", default_value = "default", value_name = "NAME")]
    pub(super) source: Source,
    /// Say what would be withdrawn, and withdraw nothing.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct PurgeArgs {
    /// Delete the records of loads that were superseded at least so long ago.
    #[arg(long, env = "SCR_SUPERSEDED_DAYS", value_name = "DAYS", required_unless_present = "keep_months", value_parser = clap::value_parser!(u32).range(..=36_500))]
    pub(super) superseded_days: Option<u32>,
    /// Delete the records of all months but this one and so many before it.
    #[arg(long, env = "SCR_KEEP_MONTHS", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1200))]
    pub(super) keep_months: Option<u32>,
    /// Say what would be deleted, and delete nothing.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document, named as in the contract.
    Json,
    /// CSV with a header line.
    Csv,
}

#[derive(Debug, ClapArgs)]
pub(super) struct TenantsArgs {
    /// Only tenants whose name, id or organization name contains this.
    #[arg(env = "SCR_SEARCH", default_value = "")]
    pub(super) search: String,
    /// Only tenants of this organization.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID")]
    pub(super) organization: Option<OrganizationId>,
    /// How to show them.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct UsageArgs {
    /// The tenant, by its id or by a name that only one has.
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME")]
    pub(super) tenant: String,
    /// The month.
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(super) month: Month,
    /// The file to write; `-` is standard output [default: <tenant name>_detailed_usage_<YYYY-MM>.csv].
    #[arg(short, long, env = "SCR_OUTPUT", value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// The report as it stood at this moment, for instance 2022-03-01T00:00:00Z.
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(super) as_of: Option<UtcTime>,
    /// Only assets of these types.
    #[arg(long, env = "SCR_ASSET_TYPE", value_delimiter = ',', value_name = "TYPE")]
    pub(super) asset_type: Vec<AssetType>,
    /// Only the assets with these ids.
    #[arg(long, env = "SCR_ASSET_ID", value_name = "ID")]
    pub(super) asset_id: Vec<String>,
    /// Only these meters.
    #[arg(long, env = "SCR_METER", value_delimiter = ',', value_name = "NAME")]
    pub(super) meter: Vec<String>,
    /// Only usage billed in these regions.
    #[arg(long, env = "SCR_REGION", value_delimiter = ',', value_name = "REGION")]
    pub(super) region: Vec<BillingRegion>,
    /// Only trial usage (true), or only billable usage (false).
    #[arg(long, env = "SCR_TRIAL", value_name = "BOOL")]
    pub(super) trial: Option<bool>,
    /// End lines with CR LF.
    #[arg(long, env = "SCR_CRLF", value_parser = FalseyValueParser::new())]
    pub(super) crlf: bool,
    /// Begin the file with a byte order mark, by which Excel knows UTF-8.
    #[arg(long, env = "SCR_BOM", value_parser = FalseyValueParser::new())]
    pub(super) bom: bool,
    /// Put a ' before texts that a spreadsheet would run as a formula. The file no longer imports as it was.
    #[arg(long, env = "SCR_NEUTRALIZE_FORMULAS", value_parser = FalseyValueParser::new())]
    pub(super) neutralize_formulas: bool,
    /// Go on with a download that was interrupted, from FILE.part; all other options as before.
    #[arg(long, env = "SCR_RESUME", value_parser = FalseyValueParser::new())]
    pub(super) resume: bool,
    #[command(flatten)]
    pub(super) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct CostsArgs {
    /// The organization.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID")]
    pub(super) organization: OrganizationId,
    /// Only this tenant, by its id or by a name that only one has.
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME")]
    pub(super) tenant: Option<String>,
    /// The month, or the first of several.
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(super) month: Month,
    /// The last month, at most 17 after the first.
    #[arg(long, env = "SCR_TO", value_name = "YYYY-MM")]
    pub(super) to: Option<Month>,
    /// The costs by usage and prices as they stood at this moment.
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(super) as_of: Option<UtcTime>,
    /// How to show them.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DemoArgs {
    /// End when everything was shown, with exit code 0 only if all of it held.
    #[arg(long, env = "SCR_ONCE", value_parser = FalseyValueParser::new())]
    pub(super) once: bool,
    /// Where the sample files and the downloaded reports go.
    #[arg(long, env = "SCR_OUTPUT_DIR", default_value = "demo-output", value_name = "DIR")]
    pub(super) output_dir: PathBuf,
    /// Where to listen; port 0 picks a free one.
    #[arg(long, env = "SCR_LISTEN", default_value = "127.0.0.1:50051")]
    pub(super) listen: SocketAddr,
}
