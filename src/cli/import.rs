//! `import` and `withdraw`.

mod messages;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    CommandError,
    args::{ImportArgs, WithdrawArgs},
    database::Database,
};
use crate::{
    auth::TenantScope,
    ingest::{Delivery, Import, ImportLimits, Input, Progress},
    model::Source,
    store::Store,
};

/// How many file names are stored with an import.
const LISTED_FILES: usize = 100;

pub(super) async fn run(args: ImportArgs) -> Result<(), CommandError> {
    let (_database, store) = Database::open_for_import(&args.database, &args.publish).await?;
    let inputs: Vec<Input> = args.files.into_iter().map(Input::from).collect();
    let names: Vec<String> = inputs.iter().map(Input::name).collect();
    let import = open(&store, args.source, args.months.limits()).await?;
    let bar = show_progress(&inputs, import.progress());
    let delivery = Delivery { name: &file_list(&names), is_complete: args.complete, dry_run: args.dry_run };
    let imported = async { import.publish(import.read(inputs).await?, &delivery).await }.await;
    bar.abort();
    let report = imported.map_err(|error| messages::error(&error, &names))?;
    let printed = messages::report(&report, &names, args.dry_run);
    Ok(printed.map_err(|error| unreported(args.dry_run, &error))?)
}

/// The file names as they are stored with the import.
fn file_list(names: &[String]) -> String {
    let more = names.len().saturating_sub(LISTED_FILES);
    let file_list = names[..names.len() - more].join(", ");
    if more == 0 { file_list } else { format!("{file_list} and {more} more") }
}

pub(super) async fn withdraw(args: WithdrawArgs) -> Result<(), CommandError> {
    let (_database, store) = Database::open_for_import(&args.database, &args.publish).await?;
    let import = open(&store, args.source, ImportLimits::default()).await?;
    let delivery = Delivery { name: "withdraw", is_complete: false, dry_run: args.dry_run };
    let report = import.withdraw(args.tenant, args.day.into(), &delivery).await;
    let report = report.map_err(|error| format!("nothing was withdrawn: {error}"))?;
    let printed = messages::withdrawal(&report, args.dry_run);
    Ok(printed.map_err(|error| unreported(args.dry_run, &error))?)
}

fn unreported(dry_run: bool, error: &io::Error) -> String {
    if dry_run { error.to_string() } else { format!("all of it was done, but not reported: {error}") }
}

async fn open(store: &Store, source: Source, limits: ImportLimits) -> Result<Import, CommandError> {
    Ok(Import::with_limits(store, &TenantScope::operator(), (&account(), source), limits).await?)
}

/// The name of the account that runs this program.
pub(super) fn account() -> String {
    let uid = nix::unistd::Uid::current();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Shows a progress bar if standard error is a terminal.
fn show_progress(inputs: &[Input], progress: Arc<Progress>) -> tokio::task::JoinHandle<()> {
    let size: Option<u64> = inputs.iter().map(Input::size).sum();
    let bar = ProgressBar::new(size.unwrap_or(0));
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let reading = style("reading {wide_bar} {bytes}/{total_bytes} {msg}");
    let piped = style("reading {bytes} {msg}");
    let writing = style("writing {wide_bar} {human_pos}/{human_len} rows, {eta} left");
    bar.set_style(if size.is_some() { reading } else { piped });
    tokio::spawn(async move {
        // Cleared from the screen when the task is dropped.
        let bar = ClearOnDrop(bar);
        let mut is_writing = false;
        loop {
            let to_write = progress.rows_to_write.load(Ordering::Relaxed);
            if to_write == 0 {
                bar.0.set_position(progress.bytes_read.load(Ordering::Relaxed));
                bar.0.set_message(format!("{} rows", progress.rows_read.load(Ordering::Relaxed)));
            } else {
                if !is_writing {
                    is_writing = true;
                    bar.0.reset();
                    bar.0.set_style(writing.clone());
                    bar.0.set_length(to_write);
                }
                bar.0.set_position(progress.rows_written.load(Ordering::Relaxed));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
