//! Closing months, and statements.

use std::{path::PathBuf, sync::Arc};

use clap::{Args as ClapArgs, Subcommand, builder::FalseyValueParser};

use super::{DatabaseArgs, Format, ReadArgs, publish::PublishArgs};
use crate::{model::Month, statement::StatementKey};

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct StatementKeyArgs {
    /// The private key that signs statements: Ed25519, PKCS #8 in PEM [default: statements are not signed].
    #[arg(long, env = "SCR_STATEMENT_KEY", value_name = "FILE")]
    statement_key: Option<PathBuf>,
}

impl StatementKeyArgs {
    pub(in crate::cli) fn read(&self) -> Result<Option<Arc<StatementKey>>, String> {
        let Some(path) = &self.statement_key else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| format!("--statement-key: {}: {error}", path.display());
        let pem = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        StatementKey::from_pem(&pem).map(|key| Some(Arc::new(key))).map_err(|error| failed(&error))
    }
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct CloseArgs {
    /// The organization, by its id or by a name that only one organization has.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME", required_unless_present = "all")]
    pub(in crate::cli) organization: Option<String>,
    /// All organizations that have usage. Those that cannot be closed are named, and the others are closed.
    #[arg(long, env = "SCR_ALL", value_parser = FalseyValueParser::new(), conflicts_with = "organization")]
    pub(in crate::cli) all: bool,
    /// The month (UTC), which must be over. Months close in order.
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(in crate::cli) month: Month,
    /// Close usage that no price covers, too. It is billed as an adjustment once it has a price.
    #[arg(long, env = "SCR_ALLOW_UNPRICED", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) allow_unpriced: bool,
    /// Close a month with days that a source has not delivered, too. What comes later is billed as an adjustment.
    #[arg(long, env = "SCR_ALLOW_MISSING_DAYS", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) allow_missing_days: bool,
    /// Show what would be closed, without doing it.
    #[arg(long, env = "SCR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) key: StatementKeyArgs,
    #[command(flatten)]
    pub(in crate::cli) publish: PublishArgs,
    #[command(flatten)]
    pub(in crate::cli) database: DatabaseArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StatementCommand {
    /// List the statements of an organization, the newest first.
    List(StatementListArgs),
    /// Download a statement as JSON, with its digest and signature.
    Get(StatementGetArgs),
    /// Show the public keys of all signatures, as a JSON Web Key Set.
    Keys(StatementKeysArgs),
    /// Check a statement without a server: its digest and signature, its sums, and its lines by the detailed usage. The
    /// exit code is 0 if all of it holds.
    Verify(StatementVerifyArgs),
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct StatementListArgs {
    /// The organization, by its id or by a name that only one organization has.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME")]
    pub(in crate::cli) organization: String,
    /// The output format.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct StatementGetArgs {
    /// The organization, by its id or by a name that only one organization has.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME")]
    pub(in crate::cli) organization: String,
    /// The month whose bill it is.
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM")]
    pub(in crate::cli) month: Month,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct StatementKeysArgs {
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct StatementVerifyArgs {
    /// The statement, as `statement get` writes it.
    #[arg(value_name = "STATEMENT")]
    pub(in crate::cli) statement: PathBuf,
    /// The detailed usage that the statement was made from, as `usage --statement` writes it: of each tenant and month. Without
    /// files, lines are held against their own tiers only.
    #[arg(value_name = "DETAIL")]
    pub(in crate::cli) details: Vec<PathBuf>,
    /// The public keys, as `statement keys` writes them. Get them from somewhere else than the statement.
    #[arg(long, env = "SCR_KEY", value_name = "KEYS")]
    pub(in crate::cli) key: PathBuf,
}
