//! `usage`: downloads a report to a CSV file, complete or not at all.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use super::{
    CommandError,
    args::UsageArgs,
    background::{BackgroundWriter, Output},
    output,
    partial::PartialFile,
    report_name::default_path,
};
use crate::{
    client::{Client, ClientError, CsvDownload, UsageQuery},
    contract::{CsvFormat, CsvWriter, LineEnd, proto::ReportHeader},
    model::{UsageFilter, printable},
};

/// Lines are written when at least this much is buffered.
const WRITE_BYTES: usize = 256 << 10;
/// How often the state of a download is written.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Where a report is written.
enum Destination {
    Stdout,
    /// A device or pipe.
    Stream(PathBuf),
    File(PathBuf),
    /// A file with a name that says what it is.
    Default,
}

pub(super) async fn run(args: UsageArgs) -> Result<(), CommandError> {
    let filter = UsageFilter {
        asset_types: args.asset_type,
        asset_ids: args.asset_id,
        meter_names: args.meter,
        billing_regions: args.region,
        trial: args.trial,
    };
    let format = CsvFormat {
        line_end: if args.crlf { LineEnd::Crlf } else { LineEnd::Lf },
        neutralize_formulas: args.neutralize_formulas,
        byte_order_mark: args.bom,
    };
    let mut destination = Destination::of(args.output);
    match &destination {
        Destination::File(path) => check_free(path, args.force)?,
        Destination::Stdout | Destination::Stream(_) if args.resume => {
            return Err("--resume needs a file, but --output is standard output or a device".into());
        }
        _ => {}
    }
    let mut client = Client::connect(&args.server.config()?).await?;
    let tenant_id = client.find_tenant(&args.tenant).await?;
    let query = UsageQuery { tenant_id, month: args.month, filter, as_of: args.as_of, statement: args.statement };
    if args.resume {
        let target = match &destination {
            Destination::File(path) => Some(path.clone()),
            _ => PartialFile::find(Path::new("."), |checkpoint| checkpoint.matches(&query, format))?,
        };
        if let Some(target) = target
            && let Some((file, checkpoint)) = PartialFile::reopen(&target)?
        {
            check_free(&target, args.force)?;
            let download = client.resume_detailed_usage_csv(&query, format, &checkpoint).await;
            let download = download.map_err(|error| cannot_resume(&error, &file))?;
            return save(download, file, &target, args.force).await;
        }
        output::note("there is no download to resume, so it starts from the first row");
    }
    if let Destination::Default = destination
        && let Some(path) = default_path(&mut client, &query).await?
    {
        check_free(&path, args.force)?;
        destination = Destination::File(path);
    }
    let download = client.detailed_usage_csv(&query, format).await?;
    match destination {
        Destination::Stdout => copy(download, format, output::Lines::new(io::stdout()), output::STDOUT).await,
        Destination::Stream(path) => {
            let name = path.display().to_string();
            // Opening a pipe waits for its reader.
            let file = tokio::task::spawn_blocking(move || File::options().append(true).open(&path)).await?;
            let file = file.map_err(|error| format!("{name}: {error}"))?;
            copy(download, format, output::Lines::new(file), &name).await
        }
        Destination::File(path) => {
            let mut file = PartialFile::create(&path)?;
            write_names(&mut file, format)?;
            save(download, file, &path, args.force).await
        }
        // Without a tenant there is no report.
        Destination::Default => Err(ClientError::UnknownTenant(args.tenant).into()),
    }
}

// === impl Destination ===

impl Destination {
    fn of(output: Option<PathBuf>) -> Self {
        let Some(path) = output else { return Self::Default };
        // What has no name of its own is written to, not replaced.
        let is_special = path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        if path == Path::new("-") || path == Path::new("/dev/stdout") {
            Self::Stdout
        } else if is_special || ["/dev/stderr", "/dev/fd", "/proc"].iter().any(|open| path.starts_with(open)) {
            Self::Stream(path)
        } else {
            Self::File(path)
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Refuses to replace a file that nobody said may be replaced.
fn check_free(path: &Path, force: bool) -> Result<(), String> {
    if path.file_name().is_none() || path.is_dir() {
        return Err(failed(path, &io::ErrorKind::IsADirectory.into()));
    }
    if force || path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(format!("{} exists; use --force to replace it, or --output to write another file", path.display()))
}

fn cannot_resume(error: &ClientError, file: &PartialFile) -> String {
    let part = file.path();
    match error {
        ClientError::CheckpointMismatch => format!("{}: {error}, or omit --resume to start again", part.display()),
        error if is_permanent(error) => format!("{error}; run the command without --resume to start again"),
        _ => error.to_string(),
    }
}

/// Whether the download can never be resumed from here.
fn is_permanent(error: &ClientError) -> bool {
    match error {
        ClientError::CannotResume(_) => true,
        ClientError::Refused { reason, .. } => {
            ["RESUME_TOKEN_EXPIRED", "REPORT_PURGED", "INVALID_ARGUMENT"].contains(&reason.as_str())
        }
        _ => false,
    }
}

/// Writes the header line.
fn write_names(out: &mut impl io::Write, format: CsvFormat) -> io::Result<()> {
    let mut csv = CsvWriter::new(out, format);
    csv.write_header()?;
    csv.flush()
}

/// Writes to an output that cannot be discarded: standard output, a pipe or a device.
async fn copy(mut download: CsvDownload, format: CsvFormat, out: impl Output, name: &str) -> Result<(), CommandError> {
    let mut names = Vec::new();
    write_names(&mut names, format)?;
    let mut writer = BackgroundWriter::start(out);
    writer.write(&mut names).await;
    let downloaded = write(&mut download, &mut writer, &ProgressBar::hidden()).await;
    let (_, written) = writer.finish().await?;
    written.map_err(|error| format!("{name}: {error}"))?;
    Ok(downloaded?)
}

/// Writes the rest of a file, and renames it to its target when the report is complete.
async fn save(mut download: CsvDownload, file: PartialFile, path: &Path, replace: bool) -> Result<(), CommandError> {
    let header = download.header().clone();
    let bar = progress_bar(header.record_count.cast_unsigned(), header.resumed_record_count.cast_unsigned());
    let mut writer = BackgroundWriter::start(file);
    let downloaded = write(&mut download, &mut writer, &bar).await;
    let (file, written) = writer.finish().await?;
    written.map_err(|error| failed(&file.path(), &error))?;
    if let Err(error) = downloaded {
        let received = download.checkpoint().received;
        if received == 0 || error.is_untrusted() {
            file.discard()?;
            return Err(error.into());
        }
        if is_permanent(&error) {
            return Err(format!("{error}; run the command without --resume to start again").into());
        }
        return Err(format!(
            "{error}; {} of {} rows are in {}; run the same command with --resume to continue",
            HumanCount(received),
            HumanCount(header.record_count.cast_unsigned()),
            file.path().display()
        )
        .into());
    }
    let part = file.path();
    file.finish(replace).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{} exists now; the new report is in {}, and the same command with --resume --force puts it in its place",
            path.display(),
            part.display()
        ),
        _ => failed(path, &error),
    })?;
    bar.finish_and_clear();
    note_missing_days(&header);
    let path = path.display();
    let header = download.header();
    if header.record_count == 0 {
        output::note(&format!(
            "{path}: {} has no matching usage in {}; the file has only the header line",
            printable(&header.tenant_name),
            output::month(header.month)
        ));
    } else {
        let count = HumanCount(header.record_count.cast_unsigned());
        output::note(&format!("{path}: {count} rows, revision {}", header.revision));
    }
    Ok(())
}

/// Says what is still to come, perhaps.
fn note_missing_days(header: &ReportHeader) {
    for missing in &header.missing_days {
        output::note(&format!(
            "warning: {} has not delivered {} for {}",
            printable(&missing.source),
            output::days(&missing.days),
            printable(&header.tenant_name)
        ));
    }
}

/// Passes lines to the writer until the report is complete, or the download or the writer fails.
async fn write<W: Output>(
    download: &mut CsvDownload,
    writer: &mut BackgroundWriter<W>,
    bar: &ProgressBar,
) -> Result<(), ClientError> {
    let mut lines = Vec::with_capacity(2 * WRITE_BYTES);
    let mut last_checkpoint = None::<Instant>;
    let result = loop {
        match download.next(&mut lines).await {
            Ok(Some(rows)) => bar.inc(rows),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        let due = last_checkpoint.is_none_or(|last_checkpoint| last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL);
        if (due || lines.len() >= WRITE_BYTES) && !writer.write(&mut lines).await {
            return Ok(());
        }
        if due {
            writer.checkpoint(download.checkpoint()).await;
            last_checkpoint = Some(Instant::now());
        }
    };
    writer.write(&mut lines).await;
    if result.is_err() {
        writer.checkpoint(download.checkpoint()).await;
    }
    result
}

/// The bar is shown only on a terminal.
fn progress_bar(record_count: u64, resumed: u64) -> ProgressBar {
    let bar = ProgressBar::new(record_count).with_position(resumed);
    bar.reset_eta();
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // Failing to draw the bar must not fail the download.
        let _ = write!(out, "{} rows/s", HumanCount(state.per_sec().round() as u64));
    };
    let template = "{wide_bar} {human_pos}/{human_len} rows, {rate}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}
