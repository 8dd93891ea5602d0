//! Writes what is downloaded.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use super::{header_line::write_names, source::Source};
use crate::{
    cli::{
        CommandError,
        background::{BackgroundWriter, Checkpointed},
        encoder::Encoding,
        partial::PartialFile,
        report_form::ReportForm,
        synced::Output,
    },
    client::{ClientError, CsvDownload},
    contract::CsvFormat,
};

/// Lines are written when at least this much is buffered.
const WRITE_BYTES: usize = 256 << 10;
/// How often the state of a download is written.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Why a file is not whole.
pub(super) enum Interrupted {
    /// It cannot be written.
    Write(CommandError),
    /// Nothing of it was kept.
    Discarded(ClientError),
    /// What was received is in a temporary file, from which the download can be resumed.
    Kept(ClientError, PathBuf),
}

/// Writes to an output that cannot be discarded: standard output, a pipe or a device.
pub(super) async fn copy(
    mut download: CsvDownload,
    format: CsvFormat,
    out: impl Checkpointed,
    name: &str,
) -> Result<(), CommandError> {
    let mut names = Vec::new();
    write_names(&mut names, format)?;
    let mut writer = BackgroundWriter::start(out);
    writer.write(&mut names).await;
    let downloaded = write(&mut download, &mut writer, &ProgressBar::hidden()).await;
    let (_, written) = writer.finish().await?;
    written.map_err(|error| format!("{name}: {error}"))?;
    Ok(downloaded?)
}

/// Writes the rest of a file, which does not have its name yet then.
pub(super) async fn receive(
    download: &mut CsvDownload,
    file: PartialFile,
    bar: &ProgressBar,
) -> Result<PartialFile, Interrupted> {
    let mut writer = BackgroundWriter::start(file);
    let downloaded = write(download, &mut writer, bar).await;
    let (file, written) = writer.finish().await.map_err(|error| Interrupted::Write(error.into()))?;
    written.map_err(|error| Interrupted::Write(failed(&file.path(), &error).into()))?;
    match downloaded {
        Ok(()) => Ok(file),
        Err(error) if download.checkpoint().received == 0 || error.is_untrusted() => {
            file.discard().map_err(|error| Interrupted::Write(error.into()))?;
            Err(Interrupted::Discarded(error))
        }
        Err(error) => Err(Interrupted::Kept(error, file.path())),
    }
}

/// Writes a report in any form. What is not whole has no end that says so. Returns what it was written to, and whether that
/// has it all.
pub(super) async fn encode<W: Output>(
    source: &mut Source,
    form: ReportForm,
    (out, name): (W, &str),
    bar: &ProgressBar,
) -> Result<(W, Result<(), CommandError>), CommandError> {
    let mut encoding = Encoding::start(form, source.content(), out);
    let downloaded = loop {
        match source.next(encoding.spare()).await {
            Ok(Some((count, piece))) => {
                if !encoding.write(piece).await {
                    break Ok(());
                }
                bar.inc(count);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let (out, written) = encoding.finish(downloaded.is_ok()).await?;
    let written = written.map_err(|error| CommandError::from(format!("{name}: {error}")));
    Ok((out, written.and_then(|()| Ok(downloaded?))))
}

/// Writes a report to a file in any form, which does not have its name yet then. Nothing of it is kept where that fails.
pub(super) async fn encode_file(
    source: &mut Source,
    form: ReportForm,
    path: &Path,
    bar: &ProgressBar,
) -> Result<PartialFile, CommandError> {
    let file = PartialFile::create(path)?;
    let name = file.path().display().to_string();
    let (file, encoded) = encode(source, form, (file, &name), bar).await?;
    match encoded {
        Ok(()) => Ok(file),
        Err(error) => {
            file.discard()?;
            Err(error)
        }
    }
}

impl From<Interrupted> for CommandError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Write(error) => error,
            Interrupted::Discarded(error) | Interrupted::Kept(error, _) => error.into(),
        }
    }
}

pub(super) fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Passes lines to the writer until the report is complete, or the download or the writer fails.
async fn write<W: Checkpointed>(
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
pub(super) fn progress_bar(record_count: u64, resumed: u64) -> ProgressBar {
    let bar = ProgressBar::new(record_count).with_position(resumed);
    bar.reset_eta();
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // Failing to draw the bar must not fail the download.
        let _ = write!(out, "{} rows/s", HumanCount(state.per_sec().round() as u64));
    };
    let template = "{wide_bar} {msg}{human_pos}/{human_len} rows, {rate}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}
