//! `import`.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::NaiveDate;
use indicatif::{ProgressBar, ProgressStyle};

use super::{CommandError, args::ImportArgs, database::Database};
use crate::{
    auth::Principal,
    import::{Import, ImportError, ImportReport, Input, InvalidUsage, LoadOutcome, LoadReport, Prepared, Progress},
    model::{Source, TenantId},
    store::{Store, StoreConfig},
};

/// How many restatements are told one by one.
const SHOWN_RESTATEMENTS: usize = 20;

pub(super) async fn run(args: ImportArgs) -> Result<(), CommandError> {
    let database = Database::open(&args.database).await?;
    let principal = Principal::operator(&account());
    let mut days = Days::default();
    for file in args.files {
        let input = Input::from(file);
        let name = input.name();
        let report = import_file(&database.url, &principal, &args.source, input, args.dry_run, &mut days).await;
        let report = report.map_err(|error| format!("{name}: {error}"))?;
        if report.record_count == 0 {
            eprintln!("warning: {name} has a header line only: nothing was imported, and no day became empty by it");
        }
        print_report(&name, &report, args.dry_run);
        warn_of_doubles(&report);
    }
    Ok(())
}

/// The name of the account that runs this program.
pub(super) fn account() -> String {
    let uid = nix::unistd::Uid::current();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Which file brought which tenant's day: two files of one run must not supersede each other unnoticed.
#[derive(Default)]
struct Days(HashMap<(TenantId, NaiveDate), String>);

impl Days {
    fn check(&mut self, name: &str, prepared: &Prepared) -> Result<(), String> {
        for day in prepared.tenant_days() {
            if let Some(other) = self.0.insert(day, name.to_owned()) {
                let (tenant, day) = day;
                return Err(format!(
                    "the file was not imported: {other} has usage of tenant {tenant} on {day} too, and this file would \
                     supersede it. Put the day into one file, or import the files one by one if this one corrects the \
                     other, or give them different --source names if they add up"
                ));
            }
        }
        Ok(())
    }
}

async fn import_file(
    database_url: &str,
    principal: &Principal,
    source: &Source,
    input: Input,
    dry_run: bool,
    days: &mut Days,
) -> Result<ImportReport, String> {
    let config = StoreConfig::new(database_url);
    let store = Store::new(&config).map_err(|error| error.to_string())?;
    let import = Import::new(&store, config, principal, source.clone()).await;
    let import = import.map_err(|error| error.to_string())?;
    let name = input.name();
    let bar = show_progress(&input, import.progress());
    let result = async {
        let prepared = import.read(input).await.map_err(|error| explain(&error))?;
        days.check(&name, &prepared)?;
        import.publish(prepared, &name, dry_run).await.map_err(|error| explain(&error))
    };
    let result = result.await;
    bar.abort();
    result
}

/// A progress bar on a terminal, and nothing elsewhere.
fn show_progress(input: &Input, progress: Arc<Progress>) -> tokio::task::JoinHandle<()> {
    let size = input.size();
    let bar = ProgressBar::new(size.unwrap_or(0));
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let reading = style("reading {wide_bar} {bytes}/{total_bytes} {msg}");
    let piped = style("reading {bytes} {msg}");
    let writing = style("writing {wide_bar} {human_pos}/{human_len} rows, {eta} left");
    bar.set_style(if size.is_some() { reading } else { piped });
    tokio::spawn(async move {
        // Taken off the screen when the task is dropped.
        let bar = Cleared(bar);
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

struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn explain(error: &ImportError) -> String {
    match error {
        ImportError::Invalid(invalid) => explain_problems(invalid),
        // The caller names the file.
        ImportError::Io { error, .. } => error.to_string(),
        ImportError::Denied(error) => error.to_string(),
        ImportError::Store(error) => error.to_string(),
    }
}

fn explain_problems(invalid: &InvalidUsage) -> String {
    let mut text = "the file was not imported, and nothing was changed:".to_owned();
    for problem in &invalid.first {
        text.push_str(&format!("\n  line {}", problem.place));
        if !problem.column.is_empty() {
            text.push_str(&format!(", {}", problem.column));
        }
        if !problem.value.is_empty() || !problem.column.is_empty() {
            text.push_str(&format!(" {:?}", problem.value));
        }
        text.push_str(&format!(": {}", problem.reason));
    }
    let rest = invalid.total - invalid.first.len() as u64;
    if rest > 0 {
        text.push_str(&format!("\n  ... and {rest} more problems"));
    }
    text
}

fn print_report(name: &str, report: &ImportReport, dry_run: bool) {
    let count = |wanted: fn(&LoadOutcome) -> bool| report.loads.iter().filter(|load| wanted(&load.outcome)).count();
    let published = count(|outcome| matches!(outcome, LoadOutcome::Published));
    let restated = count(|outcome| matches!(outcome, LoadOutcome::Restated(_)));
    let unchanged = count(|outcome| matches!(outcome, LoadOutcome::Unchanged));
    let records = report.record_count;
    if published + restated == 0 {
        println!("{name}: unchanged ({records} records, {unchanged} loads)");
        return;
    }
    let done = if dry_run { "dry run, nothing was published; would be: " } else { "" };
    println!(
        "{name}: {records} records; {done}{published} loads published, {restated} restated, {unchanged} unchanged"
    );
    let restatements = report.loads.iter().filter(|load| matches!(load.outcome, LoadOutcome::Restated(_)));
    for load in restatements.take(SHOWN_RESTATEMENTS) {
        print_restatement(load);
    }
    if restated > SHOWN_RESTATEMENTS {
        println!("  ... and {} more restatements", restated - SHOWN_RESTATEMENTS);
    }
}

/// The same day from two sources is usually one delivery with a --source forgotten.
fn warn_of_doubles(report: &ImportReport) {
    let doubles = report.loads.iter().filter_map(|load| Some((load, load.also_from.as_ref()?)));
    for (load, source) in doubles.take(SHOWN_RESTATEMENTS) {
        eprintln!(
            "warning: tenant {} on {}: source {source} has delivered the very same rows, so they count twice; was --source \
             {source} meant?",
            load.tenant_id, load.usage_day
        );
    }
}

fn print_restatement(load: &LoadReport) {
    let LoadOutcome::Restated(restatement) = &load.outcome else { return };
    println!(
        "  tenant {} on {}: supersedes the load of {}: {} -> {} rows",
        load.tenant_id,
        load.usage_day,
        restatement.superseded_published_at,
        restatement.superseded_record_count,
        load.record_count
    );
    if let Some(earlier) = restatement.returns_to {
        println!(
            "    note: this is the content that was published at {earlier} and corrected since; is the file an old one?"
        );
    }
    for (meter, before, after) in &restatement.quantities {
        if before == after {
            println!("    {meter}: {after}, as before");
        } else {
            println!("    {meter}: {before} -> {after}");
        }
    }
}
