//! The messages of `import` and `withdraw`.

use std::io;

use crate::{
    cli::output::{note, print_lines},
    ingest::{
        ImportError, ImportReport, InvalidUsage, LoadOutcome, LoadReport, Restatement, UsageProblem, UsageWarning,
        WarningKind,
    },
};

/// The maximum number of restatements, notes or warnings that are printed one by one.
const MAX_SHOWN: usize = 20;

/// Appends a line.
macro_rules! line {
    ($out:expr, $($part:tt)*) => {{
        $out.push_str(&format!($($part)*));
        $out.push('\n');
    }};
}

/// Why files were not imported.
pub(super) fn error(error: &ImportError, names: &[String]) -> String {
    match error {
        ImportError::Invalid(invalid) => problems(invalid, names),
        // These errors name their file.
        ImportError::UnsupportedFormat { .. } | ImportError::Io { .. } => error.to_string(),
        _ => format!("{}: {error}", delivery_name(names)),
    }
}

/// Prints what an import did.
///
/// # Errors
///
/// What was done is done, but standard output does not say so.
pub(super) fn report(report: &ImportReport, names: &[String], dry_run: bool) -> io::Result<()> {
    let name = delivery_name(names);
    if report.record_count == 0 {
        let has = if names.len() == 1 { "has" } else { "have" };
        note(&format!("warning: {name} {has} no records, so nothing was imported, and no day was withdrawn"));
    }
    let mut out = String::new();
    counts(&mut out, &name, report, dry_run);
    let changed = || report.loads.iter().filter(|load| matches!(load.outcome, LoadOutcome::Restated(_)));
    changed().take(MAX_SHOWN).for_each(|load| restatement(&mut out, load));
    // All of them, since the files do not show which they are.
    let withdrawn = report.loads.iter().filter(|load| matches!(load.outcome, LoadOutcome::Withdrawn(_)));
    withdrawn.for_each(|load| restatement(&mut out, load));
    let printed = print_lines(&out);
    print_remaining_count(changed().count(), "restatements");
    omitted(report);
    duplicate_days(report);
    for warning in &report.warnings {
        note(&format!("warning: {}", warning_text(warning, names)));
    }
    printed
}

/// Prints what a withdrawal did.
///
/// # Errors
///
/// What was done is done, but standard output does not say so.
pub(super) fn withdrawal(report: &ImportReport, dry_run: bool) -> io::Result<()> {
    let mut out = String::new();
    for load in &report.loads {
        if let LoadOutcome::Withdrawn(_) = load.outcome {
            line!(out, "{}", if dry_run { "dry run; this would be withdrawn:" } else { "withdrawn:" });
            restatement(&mut out, load);
        } else {
            line!(out, "tenant {} on {}: there is nothing left to withdraw", load.tenant_id, load.usage_day);
        }
    }
    print_lines(&out)
}

fn delivery_name(names: &[String]) -> String {
    match names {
        [name] => name.clone(),
        names => format!("{} files", names.len()),
    }
}

fn problems(invalid: &InvalidUsage, names: &[String]) -> String {
    let (what, one) = match names {
        [name] => (format!("{name}: the file was"), true),
        names => (format!("none of the {} files was", names.len()), false),
    };
    let mut text = format!("{what} {}imported, and nothing was changed:", if one { "not " } else { "" });
    for problem in &invalid.first {
        text.push_str("\n  ");
        text.push_str(&problem_text(problem, names));
    }
    let rest = invalid.total - invalid.first.len() as u64;
    if rest > 0 {
        text.push_str(&format!("\n  ... and {rest} more problems"));
    }
    text
}

fn problem_text(problem: &UsageProblem, names: &[String]) -> String {
    let mut text = location((problem.input, problem.number), names);
    if !problem.column.is_empty() {
        text.push_str(&format!(", {}", problem.column));
    }
    if !problem.value.is_empty() || !problem.column.is_empty() {
        text.push_str(&format!(" {:?}", problem.value));
    }
    text + &format!(": {}", problem.reason)
}

/// The line, with the file's name if there are several files.
fn location((input, line): (usize, u64), names: &[String]) -> String {
    match names.get(input) {
        Some(name) if names.len() > 1 => format!("{name}, line {line}"),
        _ => format!("line {line}"),
    }
}

fn counts(out: &mut String, name: &str, report: &ImportReport, dry_run: bool) {
    let count = |wanted: &str| report.loads.iter().filter(|load| load.outcome.name() == wanted).count();
    let [published, restated, withdrawn, unchanged] = ["published", "restated", "withdrawn", "unchanged"].map(count);
    let records = report.record_count;
    if published + restated + withdrawn == 0 {
        line!(out, "{name}: unchanged ({records} records, {unchanged} loads)");
        return;
    }
    let (mode, published_as) = if dry_run { ("dry run: ", "would be published") } else { ("", "published") };
    let withdrawn_text = if withdrawn > 0 { format!(", {withdrawn} withdrawn") } else { String::new() };
    line!(
        out,
        "{name}: {records} records; {mode}{published} loads {published_as}, {restated} restated{withdrawn_text}, \
         {unchanged} unchanged"
    );
}

fn restatement(out: &mut String, load: &LoadReport) {
    let Some(restatement) = load.outcome.restatement() else { return };
    let Restatement { superseded_record_count, superseded_published_at, returns_to, quantities } = restatement;
    let verb = if matches!(load.outcome, LoadOutcome::Withdrawn(_)) { "withdraws" } else { "supersedes" };
    line!(
        out,
        "  tenant {} on {}: {verb} the load of {superseded_published_at}: {superseded_record_count} -> {} rows",
        load.tenant_id,
        load.usage_day,
        load.record_count
    );
    if let Some(earlier) = returns_to {
        line!(
            out,
            "    note: the same content was published at {earlier} and has been corrected since; check that this is \
             not an old file"
        );
    }
    for (meter, before, after) in quantities {
        if before == after {
            line!(out, "    {meter}: {after}, as before");
        } else {
            line!(out, "    {meter}: {before} -> {after}");
        }
    }
}

/// Usage that moved from one tenant to another would be billed twice.
fn omitted(report: &ImportReport) {
    for load in report.omitted.iter().take(MAX_SHOWN) {
        note(&format!(
            "note: this delivery has no rows of tenant {} on {}, but an earlier one of this source had {}, which stay \
             in force (`import --complete` or `withdraw` withdraws them)",
            load.tenant_id, load.usage_day, load.record_count
        ));
    }
    let count = usize::try_from(report.omitted_count).unwrap_or(usize::MAX);
    print_remaining_count(count, "tenants' days that were delivered before");
}

/// The same day from two sources is usually one delivery with a --source forgotten.
fn duplicate_days(report: &ImportReport) {
    let duplicates = || report.loads.iter().filter_map(|load| Some((load, load.also_from.as_ref()?)));
    for (load, source) in duplicates().take(MAX_SHOWN) {
        note(&format!(
            "warning: tenant {} on {}: source {source} has delivered the same rows, so they count twice; did you mean \
             --source {source}?",
            load.tenant_id, load.usage_day
        ));
    }
    print_remaining_count(duplicates().count(), "days that count twice");
}

fn print_remaining_count(count: usize, what: &str) {
    if count > MAX_SHOWN {
        note(&format!("... and {} more {what}", count - MAX_SHOWN));
    }
}

fn warning_text(warning: &UsageWarning, names: &[String]) -> String {
    let UsageWarning { kind, count, first, example } = warning;
    let what = match kind {
        WarningKind::ExpiredTrial => format!("{count} trial rows start when their trial has already expired"),
        WarningKind::NormalForm => {
            format!("{count} asset ids differ from another one only in their Unicode normal form")
        }
    };
    format!("{what}; the first is {}: {example}", location(*first, names))
}
