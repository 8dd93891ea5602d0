//! What the command line takes. Every option has an environment variable of its own name.

mod billing;
mod bills;
mod catalog;
mod client;
mod costs;
mod focus;
mod limits;
mod lists;
mod publish;
mod reports;
mod serve;

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{
    Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::FalseyValueParser,
};
use secrecy::SecretString;

pub(super) use billing::{
    CloseArgs, StatementCommand, StatementGetArgs, StatementKeyArgs, StatementListArgs, StatementVerifyArgs,
};
pub(super) use bills::{CompareArgs, CostsArgs, CostsCommand, SideArgs};
pub(super) use catalog::{CatalogApplyArgs, CatalogCommand, PreviewMonths};
pub(super) use client::{ReadArgs, ServerArgs};
pub(super) use costs::{BreakdownArgs, CostsFormat};
use focus::FocusArgs;
use limits::{LimitsArgs, MonthsArgs};
pub(super) use lists::{LoadsArgs, OrganizationsArgs, PricesArgs, TenantArgs};
pub(super) use publish::PublishArgs;
pub(super) use reports::{TenantsArgs, UsageArgs};
pub(super) use serve::ServeArgs;

use crate::{
    auth::Role,
    model::{OrganizationId, Source, TenantId, UsageDay},
    store::Grant,
    telemetry::logs,
};

/// What tokens for development say, unless something else is asked for. The name is nobody's (RFC 2606).
pub(super) const DEVELOPMENT_ISSUER: &str = "https://development.invalid";
pub(super) const DEVELOPMENT_AUDIENCE: &str = "secure-connect-reports";

/// Reports what Secure Connect tenants used and what it costs.
#[derive(Debug, Parser)]
#[command(name = "secure-connect-reports", version, about, max_term_width = 120)]
pub(super) struct Args {
    /// What to log, to standard error: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives such as
    /// `info,tonic=debug`. A level is that of this program; libraries log errors unless they are named. `serve` writes its audit log at every level, unless a directive names `audit`:
    /// `info,audit=off` [default: `info` for `serve`, `warn` for other commands].
    #[arg(long, global = true, help_heading = "Log", env = "SCR_LOG", value_name = "DIRECTIVES")]
    pub(super) log: Option<String>,
    /// The format of log lines.
    #[arg(
        long,
        global = true,
        help_heading = "Log",
        env = "SCR_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
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
    /// Text for people.
    #[default]
    Pretty,
    /// One JSON object per line.
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
    /// Manage organizations, tenants, meters and price lists.
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Import usage from CSV files, as one delivery: all of it is published, or nothing.
    Import(ImportArgs),
    /// Withdraw what a source delivered for a tenant's day. The day then has no usage from that source.
    Withdraw(WithdrawArgs),
    /// Delete the records of superseded loads and of old months. Bills stay as they are.
    Purge(PurgeArgs),
    /// List the tenants that you may see.
    Tenants(TenantsArgs),
    /// List the organizations that you may see, with their currencies.
    Organizations(OrganizationsArgs),
    /// Show a tenant's months that have usage: whether they are closed, and how many records they have.
    Tenant(TenantArgs),
    /// List what was delivered of a tenant's month: when, by whom, and what became of it.
    Loads(LoadsArgs),
    /// Download the detailed usage of a tenant in a month, or of several, as CSV.
    Usage(Box<UsageArgs>),
    /// Show what an organization owes, line by line.
    Costs(Box<CostsCommand>),
    /// Close a month of an organization: its bill becomes a statement, which never changes.
    Close(Box<CloseArgs>),
    /// List, download and check statements, the closed bills of organizations.
    #[command(subcommand)]
    Statement(StatementCommand),
    /// Show which prices are in force in a month.
    Prices(PricesArgs),
    /// Ask a server whether it is SERVING. The exit code is 0 if it is.
    Healthcheck(ServerArgs),
    /// Make a token for development, signed by a local key. The key is created if it does not exist.
    Token(TokenArgs),
    /// Show everything on this machine: a private PostgreSQL, sample data, reports. The steps ignore other `SCR_`
    /// variables.
    Demo(DemoArgs),
}

/// Which database.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct DatabaseArgs {
    /// The PostgreSQL database, as a URL or a key-value string, with `sslmode`, and with several hosts if you need
    /// fail-over. Unset: a private PostgreSQL below `--data-dir`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = "Database")]
    pub(super) database_url: Option<SecretString>,
    /// The folder of the private PostgreSQL [default: `/var/lib/secure-connect-reports` for root, else
    /// `$XDG_DATA_HOME/secure-connect-reports` or `~/.local/share/secure-connect-reports`].
    #[arg(long, env = "SCR_DATA_DIR", value_name = "DIR", help_heading = "Database")]
    pub(super) data_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct MigrateArgs {
    /// Grant a database role the rights to serve reports (`reader=ROLE`), or to import usage, apply catalogs and close months
    /// (`writer=ROLE`). A missing role is created, without a login. The role must not own the tables, and no role may
    /// be named twice. Grant again after each upgrade.
    #[arg(long, env = "SCR_GRANT_TO", value_delimiter = ',', value_name = "reader=ROLE|writer=ROLE")]
    pub(super) grant_to: Vec<Grant>,
    /// Spread records over the workers of Citus, by tenant. They are copied, and imports and reports wait for as long. Where they are spread,
    /// it changes nothing.
    #[arg(long, env = "SCR_DISTRIBUTE")]
    pub(super) distribute: bool,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct TokenArgs {
    /// An organization that the token is for, by its id. `*` means all organizations.
    #[arg(long, env = "SCR_ORGANIZATION", required = true, value_delimiter = ',', value_name = "ID|*")]
    pub(super) organization: Vec<TokenOrganization>,
    /// A role that the token has: `Reports` or `UsageImport`.
    #[arg(long, env = "SCR_ROLE", default_value = "Reports", value_delimiter = ',', value_name = "ROLE")]
    pub(super) role: Vec<Role>,
    /// The subject of the token, its `sub` [default: the name of this account].
    #[arg(long, env = "SCR_SUBJECT", value_name = "NAME")]
    pub(super) subject: Option<String>,
    /// How long the token is valid: 1 to 315360000 (ten years).
    #[arg(long, env = "SCR_EXPIRES_IN_SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=315_360_000), value_name = "SECONDS")]
    pub(super) expires_in_seconds: u64,
    /// The issuer of the token, its `iss`. Nothing is fetched from this URL.
    #[arg(long, env = "SCR_OIDC_ISSUER", default_value = DEVELOPMENT_ISSUER, value_name = "URL")]
    pub(super) issuer: String,
    /// The audience of the token, its `aud`.
    #[arg(long, env = "SCR_AUDIENCE", default_value = DEVELOPMENT_AUDIENCE, value_delimiter = ',', value_name = "NAME")]
    pub(super) audience: Vec<String>,
    /// The folder of the key: `signing-key.der`, which only this account can read, and `jwks.json` for `serve
    /// --jwks`. It is created if it does not exist [default: `secure-connect-reports-development-key` beside the
    /// default of `--data-dir`].
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
            text.parse().map_err(|error| format!("must be * or the id of an organization: {error}"))?;
        Ok(Self(id.to_string()))
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct ImportArgs {
    /// CSV files in the format of the report, plain or compressed with gzip or zstd. `-` is standard input. The rows
    /// of a tenant's day may lie in several files.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The name of who delivers: 1 to 64 letters, digits, `.`, `_` and `-`. A later delivery of a tenant's day
    /// supersedes the earlier one of the same source.
    #[arg(long, env = "SCR_SOURCE", default_value = "default", value_name = "NAME")]
    pub(super) source: Source,
    /// The files hold all usage of the days and organizations that they have rows of. What the source delivered
    /// earlier for these, and is not in the files, is withdrawn.
    #[arg(long, env = "SCR_COMPLETE", value_parser = FalseyValueParser::new())]
    pub(super) complete: bool,
    /// Check everything and show what would be done, without doing it.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) publish: PublishArgs,
    #[command(flatten)]
    pub(super) months: MonthsArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct WithdrawArgs {
    /// The id of the tenant.
    #[arg(long, env = "SCR_TENANT", value_name = "ID")]
    pub(super) tenant: TenantId,
    /// The day (UTC).
    #[arg(long, env = "SCR_DAY", value_name = "YYYY-MM-DD")]
    pub(super) day: UsageDay,
    /// The source that delivered the day.
    #[arg(long, env = "SCR_SOURCE", default_value = "default", value_name = "NAME")]
    pub(super) source: Source,
    /// Show what would be withdrawn, without doing it.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) publish: PublishArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct PurgeArgs {
    /// Delete the records of loads that were superseded at least this many days ago, at most 36500. Unset: none. This
    /// option or `--keep-months` is required.
    #[arg(long, env = "SCR_SUPERSEDED_DAYS", value_name = "DAYS", required_unless_present = "keep_months", value_parser = clap::value_parser!(u32).range(..=36_500))]
    pub(super) superseded_days: Option<u32>,
    /// Delete the records of all months except the current one (UTC) and this many before it, 1 to 1200. Unset: all
    /// months are kept.
    #[arg(long, env = "SCR_KEEP_MONTHS", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1200))]
    pub(super) keep_months: Option<u32>,
    /// Show what would be deleted, without doing it.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) publish: PublishArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document with the field names of the contract.
    Json,
    /// CSV with a header line.
    Csv,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DemoArgs {
    /// Stop when everything was shown. The exit code is 0 only if every step succeeded.
    #[arg(long, env = "SCR_ONCE", value_parser = FalseyValueParser::new())]
    pub(super) once: bool,
    /// The folder of the sample files, the key and the downloaded reports.
    #[arg(long, env = "SCR_OUTPUT_DIR", default_value = "demo-output", value_name = "DIR")]
    pub(super) output_dir: PathBuf,
    /// The address to listen on. Port 0 picks a free port.
    #[arg(long, env = "SCR_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
}
