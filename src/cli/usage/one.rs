//! One report: into a file, or to an output that others read.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use indicatif::{HumanCount, ProgressBar};

use super::{
    check_free, find_tenant,
    header_line::write_names,
    is_permanent,
    journal::Missing,
    source::Source,
    transfer::{Interrupted, copy, encode, encode_file, failed, progress_bar, receive},
};
use crate::{
    cli::{
        CommandError,
        args::UsageArgs,
        output,
        partial::{Earlier, PartialFile},
        report_form::ReportForm,
        report_name::default_path,
    },
    client::{Client, ClientError, CsvDownload, UsageQuery},
    contract::proto::ReportHeader,
    model::{Month, printable},
};

/// Where a report is written.
enum Destination {
    Stdout,
    /// A device or pipe.
    Stream(PathBuf),
    File(PathBuf),
    /// A file with a name that says what it is.
    Default,
}

pub(super) async fn run(args: UsageArgs, tenant: &str, month: Month) -> Result<(), CommandError> {
    let form = args.form(args.output.as_deref())?;
    let (filter, format) = (args.filter(), args.csv_format());
    if args.resume && !form.is_resumable() {
        return Err("--resume continues files of plain CSV; run the command without it to start again".into());
    }
    let mut destination = Destination::of(args.output);
    match &destination {
        Destination::File(path) => check_free(path, args.force)?,
        Destination::Stdout | Destination::Stream(_) if args.resume => {
            return Err("--resume needs a file, but --output is standard output or a device".into());
        }
        _ => {}
    }
    let mut client = Client::connect(&args.server.config()?).await?;
    let organization = match &args.organization {
        Some(organization) => Some(client.find_organization(organization).await?),
        None => None,
    };
    let tenant_id = find_tenant(&mut client, organization, tenant).await?;
    let query = UsageQuery { tenant_id, month, filter, as_of: args.as_of, statement: args.statement };
    if args.resume {
        let target = match &destination {
            Destination::File(path) => Some(path.clone()),
            _ => PartialFile::find(Path::new("."), |checkpoint| checkpoint.matches(&query, format))?,
        };
        if let Some(target) = target {
            match PartialFile::reopen(&target)? {
                Earlier::Stopped(stopped) => {
                    let (file, checkpoint) = *stopped;
                    check_free(&target, args.force)?;
                    let download = client.resume_detailed_usage_csv(&query, format, &checkpoint).await;
                    let download = download.map_err(|error| cannot_resume(&error, &file))?;
                    return save(download, file, &target, args.force).await;
                }
                Earlier::Damaged(damage) => {
                    return Err(format!("{damage}; run the command without --resume to start again").into());
                }
                Earlier::Nothing => {}
            }
        }
        output::note("there is no download to resume, so it starts from the first row");
    }
    if let Destination::Default = destination
        && let Some(path) = default_path(&mut client, &query, form.format).await?
    {
        check_free(&path, args.force)?;
        destination = Destination::File(path);
    }
    if !form.is_resumable() {
        let source = Source::start(&mut client, &query, form, format).await?;
        return write(source, form, destination, args.force).await;
    }
    let download = client.detailed_usage_csv(&query, format).await?;
    match destination {
        Destination::Stdout => copy(download, format, output::Lines::new(io::stdout()), output::STDOUT).await,
        Destination::Stream(path) => {
            let (file, name) = open_stream(path).await?;
            copy(download, format, output::Lines::new(file), &name).await
        }
        Destination::File(path) => {
            let mut file = PartialFile::create(&path)?;
            write_names(&mut file, format)?;
            save(download, file, &path, args.force).await
        }
        // Without a tenant there is no report.
        Destination::Default => Err(ClientError::UnknownTenant(tenant.to_owned()).into()),
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

/// Opens a device or pipe, which has a name.
async fn open_stream(path: PathBuf) -> Result<(File, String), CommandError> {
    let name = path.display().to_string();
    // Opening a pipe waits for its reader.
    let file = tokio::task::spawn_blocking(move || File::options().append(true).open(&path)).await?;
    Ok((file.map_err(|error| format!("{name}: {error}"))?, name))
}

/// Writes a report in another form than plain CSV: as a whole, or not at all.
async fn write(
    mut source: Source,
    form: ReportForm,
    destination: Destination,
    replace: bool,
) -> Result<(), CommandError> {
    let hidden = ProgressBar::hidden();
    match destination {
        Destination::Stdout => {
            form.format.check_output(io::stdout().is_terminal())?;
            let out = output::Lines::new(io::stdout());
            encode(&mut source, form, (out, output::STDOUT), &hidden).await?.1
        }
        Destination::Stream(path) => {
            let (file, name) = open_stream(path).await?;
            encode(&mut source, form, (output::Lines::new(file), &name), &hidden).await?.1
        }
        Destination::File(path) => {
            let bar = progress_bar(source.header().record_count.cast_unsigned(), 0);
            let file = encode_file(&mut source, form, &path, &bar).await?;
            let exists = format!("{} exists now; use --force to replace it", path.display());
            if let Err(error) = file.finish(replace) {
                PartialFile::remove(&path)?;
                let is_there = error.kind() == io::ErrorKind::AlreadyExists;
                return Err(if is_there { exists } else { failed(&path, &error) }.into());
            }
            bar.finish_and_clear();
            note(source.header(), &path, "no rows");
            Ok(())
        }
        // Without a tenant there is no report.
        Destination::Default => Err(ClientError::UnknownTenant(source.header().tenant_id.clone()).into()),
    }
}

fn cannot_resume(error: &ClientError, file: &PartialFile) -> String {
    let part = file.path();
    match error {
        ClientError::CheckpointMismatch => format!("{}: {error}, or omit --resume to start again", part.display()),
        error if is_permanent(error) => format!("{error}; run the command without --resume to start again"),
        _ => error.to_string(),
    }
}

/// Writes the rest of a file, and renames it to its target when the report is complete.
async fn save(mut download: CsvDownload, file: PartialFile, path: &Path, replace: bool) -> Result<(), CommandError> {
    let header = download.header().clone();
    let bar = progress_bar(header.record_count.cast_unsigned(), header.resumed_record_count.cast_unsigned());
    let file = match receive(&mut download, file, &bar).await {
        Ok(file) => file,
        Err(Interrupted::Write(error)) => return Err(error),
        Err(Interrupted::Discarded(error)) => return Err(error.into()),
        Err(Interrupted::Kept(error, _)) if is_permanent(&error) => {
            return Err(format!("{error}; run the command without --resume to start again").into());
        }
        Err(Interrupted::Kept(error, part)) => {
            return Err(format!(
                "{error}; {} of {} rows are in {}; run the same command with --resume to continue",
                HumanCount(download.checkpoint().received),
                HumanCount(header.record_count.cast_unsigned()),
                part.display()
            )
            .into());
        }
    };
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
    note(download.header(), path, "only the header line");
    Ok(())
}

/// Says what a file has; `nothing`: where it has no records.
fn note(header: &ReportHeader, path: &Path, nothing: &str) {
    Missing::note(&Missing::of(header), &header.tenant_name);
    let path = path.display();
    if header.record_count == 0 {
        output::note(&format!(
            "{path}: {} has no matching usage in {}; the file has {nothing}",
            printable(&header.tenant_name),
            output::month(header.month)
        ));
    } else {
        let count = HumanCount(header.record_count.cast_unsigned());
        output::note(&format!("{path}: {count} rows, revision {}", header.revision));
    }
}
