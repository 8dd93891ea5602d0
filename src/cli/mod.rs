//! The command line: one binary, with the server and its client.

mod args;
mod background;
mod breakdown;
mod catalog;
mod close;
mod compare;
mod costs;
mod database;
mod demo;
mod encoder;
mod import;
mod loads;
mod organizations;
mod output;
mod partial;
mod prices;
mod purge;
mod report_form;
mod report_name;
mod serve;
mod signals;
mod statement;
mod synced;
mod tenants;
mod text_columns;
mod token;
mod usage;

use std::{error::Error, process::ExitCode};

use args::{Args, Command};
use clap::CommandFactory as _;
use signals::interruptible;

use crate::telemetry::{
    lines::Lines,
    logs::{LogConfig, Logs, traces},
};

/// An error that is only printed.
type CommandError = Box<dyn Error + Send + Sync>;

/// The definition of the command line, from which `docs/configuration.md` is made.
pub fn command() -> clap::Command {
    Args::command()
}

pub fn run() -> ExitCode {
    let args = Args::read();
    let runtime = match runtime(&args.command) {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let log = {
        let _runtime = runtime.enter();
        start_logs(&args)
    };
    let log = match log {
        Ok(log) => log,
        Err(error) => {
            output::note(&format!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(args, log.reserved_audit()));
    log.end();
    // A thread may be waiting for input that never comes.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Starts logging. Traces need the runtime.
fn start_logs(args: &Args) -> Result<Logs, String> {
    let serve = if let Command::Serve(serve) = &args.command { Some(serve) } else { None };
    let traces = match serve {
        Some(serve) => traces(serve.otlp_endpoint.as_deref())?,
        None => None,
    };
    let config = LogConfig {
        directives: args.log.clone(),
        default_level: if serve.is_some() { "info" } else { "warn" },
        format: args.log_format.into(),
        server: serve.map(|serve| serve.logs()),
    };
    Logs::start(&config, traces).map_err(|error| error.to_string())
}

/// Clients use one thread, which is faster for them: nothing is passed between threads. Files are written by a thread
/// of their own.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let is_client = matches!(
        command,
        Command::Tenants(_)
            | Command::Tenant(_)
            | Command::Loads(_)
            | Command::Usage(_)
            | Command::Costs(_)
            | Command::Statement(_)
            | Command::Prices(_)
            | Command::Organizations(_)
            | Command::Healthcheck(_)
            | Command::Token(_)
    );
    let mut builder = if is_client {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

async fn dispatch(args: Args, audit: Option<Lines>) -> Result<(), CommandError> {
    match args.command {
        Command::Serve(command) => serve::run(*command, audit).await,
        Command::Migrate(command) => interruptible(catalog::migrate(command)).await,
        Command::Catalog(args::CatalogCommand::Apply(command)) => interruptible(catalog::apply(command)).await,
        Command::Import(command) => interruptible(import::run(command)).await,
        Command::Withdraw(command) => interruptible(import::withdraw(command)).await,
        Command::Purge(command) => interruptible(purge::run(command)).await,
        Command::Tenants(command) => tenants::run(command).await,
        Command::Organizations(command) => organizations::run(command).await,
        Command::Tenant(command) => loads::tenant(command).await,
        Command::Loads(command) => loads::run(command).await,
        Command::Usage(command) => interruptible(usage::run(*command)).await,
        Command::Costs(command) => match *command {
            args::CostsCommand::Show(command) => costs::run(command).await,
            args::CostsCommand::Compare(command) => compare::run(command).await,
        },
        Command::Close(command) => interruptible(close::run(*command)).await,
        Command::Statement(command) => statement::run(command).await,
        Command::Prices(command) => prices::run(command).await,
        Command::Healthcheck(command) => serve::healthcheck(&command).await,
        Command::Token(command) => token::run(command),
        Command::Demo(command) => demo::run(command).await,
    }
}
