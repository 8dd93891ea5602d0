//! What the command line takes. Every option has an environment variable of its own name.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};

use crate::model::{AssetType, BillingRegion, Month, OrganizationId, Source, UtcTime};

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

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve reports over gRPC.
    Serve(ServeArgs),
    /// Bring the database's schema up to date.
    Migrate(DatabaseArgs),
    /// Organizations, tenants, meters and price lists.
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Import usage from CSV files: all loads of a file are published, or none.
    Import(ImportArgs),
    /// List the tenants that you may see.
    Tenants(TenantsArgs),
    /// Download what each asset of a tenant used in a month, as CSV.
    Usage(Box<UsageArgs>),
    /// Show what an organization owes, and why.
    Costs(CostsArgs),
    /// Ask a server whether it is SERVING; exit code 0 when it is.
    Healthcheck(ServerArgs),
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
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// Where the private PostgreSQL is kept [default: /var/lib/secure-connect-reports for root, else
    /// ~/.local/share/secure-connect-reports].
    #[arg(long, env = "SCR_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// Which server.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct ServerArgs {
    /// The server's URL.
    #[arg(long, env = "SCR_SERVER", default_value = "http://127.0.0.1:50051")]
    pub(super) server: String,
    /// A bearer token.
    #[arg(long, env = "SCR_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 picks a free one, and the log says which.
    #[arg(long, env = "SCR_LISTEN", default_value = "127.0.0.1:50051")]
    pub(super) listen: SocketAddr,
    /// Let everyone on this machine see and import everything. Refused on any address but loopback.
    #[arg(long, env = "SCR_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    pub(super) insecure_no_auth: bool,
    /// Database connections for short calls.
    #[arg(long, env = "SCR_SHORT_CONNECTIONS", default_value_t = 8, value_name = "COUNT")]
    pub(super) short_connections: usize,
    /// Database connections that report streams take turns on.
    #[arg(long, env = "SCR_EXPORT_CONNECTIONS", default_value_t = 8, value_name = "COUNT")]
    pub(super) export_connections: usize,
    /// How long one statement in the database may take.
    #[arg(long, env = "SCR_STATEMENT_TIMEOUT_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub(super) statement_timeout_seconds: u64,
    /// How long calls that are running may go on after SIGTERM or SIGINT.
    #[arg(long, env = "SCR_DRAIN_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub(super) drain_seconds: u64,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
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
    /// CSV files in the report's own format, plain, `.gz` or `.zst`; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Who delivers: a later delivery of a tenant's day supersedes the one before from the same source.
    #[arg(long, env = "SCR_SOURCE", default_value = "default", value_name = "NAME")]
    pub(super) source: Source,
    /// Check everything and say what would be done, without doing it.
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
    pub(super) server: ServerArgs,
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
    /// Put a ' before texts that a spreadsheet would run as a formula. The file no longer imports as it was.
    #[arg(long, env = "SCR_NEUTRALIZE_FORMULAS", value_parser = FalseyValueParser::new())]
    pub(super) neutralize_formulas: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
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
    pub(super) server: ServerArgs,
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
