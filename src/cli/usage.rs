//! `usage`: a report as a CSV file, whole or not at all.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use super::{CommandError, args::UsageArgs, background::BackgroundWriter, output, tenants::connect};
use crate::{
    client::{CsvDownload, UsageQuery},
    model::{CsvFormat, CsvWriter, LineEnd},
    proto::ReportHeader,
    report::UsageFilter,
};

/// How much is written at a time.
const WRITE_BYTES: usize = 256 << 10;

pub(super) async fn run(args: UsageArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let query = UsageQuery {
        tenant_id: client.find_tenant(&args.tenant).await?,
        month: args.month,
        filter: UsageFilter {
            asset_types: args.asset_type,
            asset_ids: args.asset_id,
            meter_names: args.meter,
            billing_regions: args.region,
            trial: args.trial,
        },
        as_of: args.as_of,
    };
    let format = CsvFormat {
        line_end: if args.crlf { LineEnd::Crlf } else { LineEnd::Lf },
        neutralize_formulas: args.neutralize_formulas,
    };
    let download = client.detailed_usage_csv(&query, format).await?;
    match args.output {
        Some(path) if path.as_os_str() == "-" => {
            let writer = BackgroundWriter::start(io::stdout(), |_| Ok(()));
            write(download, format, writer, &ProgressBar::hidden()).await.map(drop)
        }
        path => {
            let path = path.unwrap_or_else(|| default_path(download.header()));
            save(download, format, &path).await
        }
    }
}

/// `<tenant name>_detailed_usage_<YYYY-MM>.csv`, without what a file name cannot hold.
fn default_path(header: &ReportHeader) -> PathBuf {
    let safe =
        |character: char| if character.is_control() || r#"/\:*?"<>|"#.contains(character) { '_' } else { character };
    let name: String = header.tenant_name.chars().map(safe).collect();
    let name = name.trim_start_matches('.');
    PathBuf::from(format!("{name}_detailed_usage_{}.csv", output::month(header.month)))
}

/// Writes the file under a temporary name, and gives it its own when the report is complete.
pub(super) async fn save(download: CsvDownload, format: CsvFormat, path: &Path) -> Result<(), CommandError> {
    let header = download.header().clone();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        // A device or a pipe is written to, not replaced.
        let file = std::fs::File::options().write(true).open(path).map_err(failed)?;
        let writer = BackgroundWriter::start(file, |_| Ok(()));
        return write(download, format, writer, &ProgressBar::hidden()).await.map(drop);
    }
    let name = path.file_name().ok_or_else(|| format!("{}: is not a file's name", path.display()))?;
    if path.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()).into());
    }
    let mut file = tempfile::Builder::new();
    // As any new file: the process's umask takes away what it should.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let file = file.prefix(&prefix).suffix(".part").permissions(readable).tempfile_in(folder).map_err(failed)?;
    let bar = progress_bar(header.record_count.cast_unsigned());
    let writer = BackgroundWriter::start(file, |file| file.as_file().sync_data());
    let file = write(download, format, writer, &bar).await?;
    file.persist(path).map_err(|error| failed(error.error))?;
    bar.finish_and_clear();
    let path = path.display();
    if header.record_count == 0 {
        eprintln!(
            "{path}: {} has no usage in {} that matches; the file has the header line only",
            output::printable(&header.tenant_name),
            output::month(header.month)
        );
    } else {
        let count = HumanCount(header.record_count.cast_unsigned());
        eprintln!("{path}: {count} rows, revision {}", header.revision);
    }
    Ok(())
}

async fn write<W: Write + Send + 'static>(
    mut download: CsvDownload,
    format: CsvFormat,
    mut writer: BackgroundWriter<W>,
    bar: &ProgressBar,
) -> Result<W, CommandError> {
    let downloaded = download_to(&mut download, format, &mut writer, bar).await;
    // In any case the thread has ended, and with it goes a file that is not whole.
    let written = writer.finish().await;
    downloaded?;
    Ok(written?)
}

async fn download_to<W: Write + Send + 'static>(
    download: &mut CsvDownload,
    format: CsvFormat,
    writer: &mut BackgroundWriter<W>,
    bar: &ProgressBar,
) -> Result<(), CommandError> {
    let mut lines = Vec::with_capacity(2 * WRITE_BYTES);
    let mut csv = CsvWriter::new(&mut lines, format);
    csv.write_header()?;
    csv.flush()?;
    drop(csv);
    while let Some(rows) = download.next(&mut lines).await? {
        if lines.len() >= WRITE_BYTES && !writer.write(&mut lines).await {
            return Ok(());
        }
        bar.inc(rows);
    }
    writer.write(&mut lines).await;
    Ok(())
}

/// Shown on a terminal only.
fn progress_bar(record_count: u64) -> ProgressBar {
    let bar = ProgressBar::new(record_count);
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A screen that does not take it is no reason to fail.
        let _ = write!(out, "{} rows/s", HumanCount(state.per_sec().round() as u64));
    };
    let template = "{wide_bar} {human_pos}/{human_len} rows, {rate}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}
