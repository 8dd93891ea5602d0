//! Several reports: a file for each tenant and month in a folder, all as of one moment, and a manifest when all are complete.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use indicatif::{HumanCount, ProgressBar};

use super::{
    check_free,
    header_line::write_names,
    is_permanent,
    journal::{Content, Done, Journal, Missing},
    manifest,
    plan::{Asked, Plan, Report},
    source::Source,
    transfer::{encode_file, failed, progress_bar, receive},
};
use crate::{
    cli::{
        CommandError,
        args::UsageArgs,
        output::{self, time},
        partial::{Earlier, PartialFile, remove},
        report_form::ReportForm,
    },
    client::{Client, ClientError, CsvDownload, UsageQuery},
    contract::{CsvFormat, Reason, proto::ReportHeader},
    model::{StatementNumber, UsageFilter},
};

/// How many downloads run at a time.
const DOWNLOADS: usize = 4;

/// What all of the downloads have in common.
struct Downloads {
    client: Client,
    folder: PathBuf,
    plan: Plan,
    filter: UsageFilter,
    form: ReportForm,
    csv: CsvFormat,
    statement: Option<StatementNumber>,
    force: bool,
    journal: Arc<Mutex<Journal>>,
    bar: ProgressBar,
}

pub(super) async fn run(args: UsageArgs, folder: PathBuf) -> Result<(), CommandError> {
    let form = args.form(None)?;
    let mut client = Client::connect(&args.server.config()?).await?;
    let target = folder.join(manifest::NAME);
    // With a journal beside it, an earlier command has ended between the two.
    if !(args.resume && Journal::exists(&folder)) {
        check_free(&target, args.force)?;
    }
    let (journal, plan, done) = match earlier(&args, &folder)? {
        Some(earlier) => earlier,
        None => {
            if args.resume {
                output::note("there is no download to resume, so it starts from the first row");
            }
            let plan = Plan::make(&mut client, &args).await?;
            for report in plan.reports.iter().filter(|report| report.revision.is_some()) {
                check_free(&folder.join(&report.file), args.force)?;
            }
            fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
            (Journal::create(&folder, &plan)?, plan, Vec::new())
        }
    };
    // From here on, an earlier manifest is not true any more.
    remove(&target)?;
    let bar = progress_bar(0, 0);
    let (filter, csv) = (args.filter(), args.csv_format());
    let journal = Arc::new(Mutex::new(journal));
    let (statement, force) = (args.statement, args.force);
    let downloads = Downloads { client, folder, plan, filter, form, csv, statement, force, journal, bar };
    let done = downloads.run(done).await?;
    downloads.finish(&target, &done)
}

/// The journal of an earlier download, if there is one to go on with.
fn earlier(args: &UsageArgs, folder: &Path) -> Result<Option<(Journal, Plan, Vec<Done>)>, CommandError> {
    if args.resume {
        let earlier = Journal::reopen(folder)?;
        if earlier.as_ref().is_some_and(|(_, plan, _)| plan.asked != Asked::of(args)) {
            return Err(format!(
                "the download in {} is of other reports: use the same options as before, or --force instead of --resume \
                 to start again",
                folder.display()
            )
            .into());
        }
        return Ok(earlier);
    }
    if Journal::exists(folder) && !args.force {
        return Err(format!(
            "{} has a download that is not complete: run the same command with --resume to continue it, or with --force \
             to start again",
            folder.display()
        )
        .into());
    }
    Ok(None)
}

// === impl Downloads ===

impl Downloads {
    /// Downloads what is not there yet. Returns what all reports are, in the order of the plan.
    async fn run(&self, earlier: Vec<Done>) -> Result<Vec<Option<Done>>, CommandError> {
        let mut done = self.verified(earlier).await?;
        let is_open = |&index: &usize| done[index].is_none() && self.plan.reports[index].revision.is_some();
        let mut waiting: VecDeque<usize> = (0..done.len()).filter(is_open).collect();
        let (count, ready) = (self.count(), self.count() - waiting.len());
        if ready > 0 {
            output::note(&format!("{ready} of {count} reports are complete already"));
        }
        let mut limit = DOWNLOADS;
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < limit
                && let Some(index) = waiting.pop_front()
            {
                running.push(async move { (index, self.download(index).await) });
            }
            self.bar.set_message(format!("{} of {count} reports, ", count - waiting.len() - running.len()));
            match running.next().await {
                None => break,
                Some((index, Ok(one))) => done[index] = Some(one),
                // Where the server has no place for so many downloads, it is the next one's when another one ends.
                Some((index, Err(error))) if is_limit(&error) && !running.is_empty() => {
                    limit = running.len();
                    waiting.push_front(index);
                }
                Some((index, Err(error))) => {
                    let complete = count - waiting.len() - running.len() - 1;
                    return Err(format!(
                        "{}: {error}; {complete} of {count} reports are complete in {}; run the same command with \
                         --resume to continue",
                        self.path(index).display(),
                        self.folder.display()
                    )
                    .into());
                }
            }
        }
        self.bar.finish_and_clear();
        Ok(done)
    }

    /// How many reports have usage.
    fn count(&self) -> usize {
        self.plan.reports.iter().filter(|report| report.revision.is_some()).count()
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(&self.plan.reports[index].file)
    }

    /// Those of an earlier download whose files are as they were left.
    async fn verified(&self, earlier: Vec<Done>) -> Result<Vec<Option<Done>>, CommandError> {
        let mut verified = vec![None; self.plan.reports.len()];
        for done in earlier {
            let index = done.report;
            verified[index] = Some(done);
        }
        for (index, slot) in verified.iter_mut().enumerate() {
            let path = self.path(index);
            let Some(done) = slot else {
                if self.plan.reports[index].revision.is_some() {
                    check_free(&path, self.force)?;
                }
                continue;
            };
            let Some(content) = &done.content else { continue };
            let found = {
                let path = path.clone();
                tokio::task::spawn_blocking(move || Content::of(&path)).await??
            };
            if found.as_ref() == Some(content) {
                // It may have got its name just when the process ended.
                PartialFile::remove(&path)?;
                continue;
            }
            if found.is_some() && !self.force {
                return Err(format!(
                    "{} was changed since it was downloaded; use --force to download it again",
                    path.display()
                )
                .into());
            }
            *slot = None;
        }
        Ok(verified)
    }

    async fn download(&self, index: usize) -> Result<Done, CommandError> {
        let (report, path) = (&self.plan.reports[index], self.path(index));
        let (header, file) = if self.form.is_resumable() {
            let (mut download, file) = self.open(report, &path).await?;
            self.begin(report, download.header())?;
            let file = match file {
                Some(file) => Some(receive(&mut download, file, &self.bar).await?),
                None => {
                    // Its summary is checked all the same.
                    while download.next(&mut Vec::new()).await?.is_some() {}
                    None
                }
            };
            (download.header().clone(), file)
        } else {
            let mut client = self.client.clone();
            let mut source = Source::start(&mut client, &self.query(report), self.form, self.csv).await?;
            self.begin(report, source.header())?;
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            }
            let file = encode_file(&mut source, self.form, &path, &self.bar).await?;
            // Where a filter names assets, the number of records is known only now.
            let is_empty = source.header().record_count == 0;
            let file = if is_empty { file.discard().map(|()| None)? } else { Some(file) };
            (source.header().clone(), file)
        };
        let mut done = Done {
            report: index,
            revision: header.revision.clone(),
            data_as_of: Some(time(header.data_as_of)).filter(|time| !time.is_empty()),
            row_count: header.record_count.cast_unsigned(),
            missing_days: Missing::of(&header),
            content: None,
        };
        let Some(file) = file else {
            self.journal.lock().unwrap_or_else(PoisonError::into_inner).add(&done)?;
            return Ok(done);
        };
        let (journal, force) = (Arc::clone(&self.journal), self.force);
        let complete = move || {
            done.content = Content::of(&file.path())?;
            // First, so that a file under its name is always known, whenever the process ends.
            journal.lock().unwrap_or_else(PoisonError::into_inner).add(&done)?;
            file.finish(force).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => "it exists now; use --resume with --force to replace it".to_owned(),
                _ => error.to_string(),
            })?;
            Ok(done)
        };
        tokio::task::spawn_blocking(complete).await?
    }

    /// Holds a report that begins against the plan.
    fn begin(&self, report: &Report, header: &ReportHeader) -> Result<(), ClientError> {
        if report.revision.as_ref() != Some(&header.revision) {
            let wrong = "the report has another revision than its month had".to_owned();
            return Err(ClientError::WrongAnswer(wrong));
        }
        self.bar.inc_length(header.record_count.cast_unsigned());
        self.bar.inc(header.resumed_record_count.cast_unsigned());
        Ok(())
    }

    fn query(&self, report: &Report) -> UsageQuery {
        UsageQuery {
            tenant_id: report.tenant_id,
            month: report.month,
            filter: self.filter.clone(),
            as_of: if self.statement.is_some() { None } else { Some(self.plan.as_of) },
            statement: self.statement,
        }
    }

    /// Starts a download, where an earlier one has stopped if it can. Without rows there is no file.
    async fn open(&self, report: &Report, path: &Path) -> Result<(CsvDownload, Option<PartialFile>), CommandError> {
        let mut client = self.client.clone();
        let query = self.query(report);
        let target = path.to_owned();
        let earlier = tokio::task::spawn_blocking(move || PartialFile::reopen(&target)).await??;
        if let Earlier::Stopped(stopped) = earlier {
            let (file, checkpoint) = *stopped;
            if checkpoint.matches(&query, self.csv) {
                match client.resume_detailed_usage_csv(&query, self.csv, &checkpoint).await {
                    Ok(download) => return Ok((download, Some(file))),
                    // From the first row it is the same report.
                    Err(error) if is_permanent(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let download = client.detailed_usage_csv(&query, self.csv).await?;
        if download.header().record_count == 0 {
            return Ok((download, None));
        }
        let mut file = PartialFile::create(path)?;
        write_names(&mut file, self.csv).map_err(|error| failed(&file.path(), &error))?;
        Ok((download, Some(file)))
    }

    /// Writes the manifest: it is there only where all reports are. What a report without rows had before would count among the
    /// files of the folder, so it goes where files may be replaced.
    fn finish(self, target: &Path, done: &[Option<Done>]) -> Result<(), CommandError> {
        for (index, done) in done.iter().enumerate() {
            if self.force && done.as_ref().is_none_or(|done| done.content.is_none()) {
                remove(&self.path(index))?;
            }
        }
        manifest::write(target, &self.plan, done)?;
        let journal = Arc::try_unwrap(self.journal).map_err(|_| "a download is still running")?;
        journal.into_inner().unwrap_or_else(PoisonError::into_inner).remove()?;
        for done in done.iter().flatten() {
            Missing::note(&done.missing_days, &self.plan.reports[done.report].tenant_name);
        }
        let files = done.iter().flatten().filter(|done| done.content.is_some()).count();
        let rows: u64 = done.iter().flatten().map(|done| done.row_count).sum();
        let (rows, empty) = (HumanCount(rows), done.len() - files);
        let empty = if empty > 0 { format!(", {empty} reports without rows") } else { String::new() };
        output::note(&format!(
            "{}: {files} files, {rows} rows{empty}, all as of {}",
            target.display(),
            self.plan.as_of
        ));
        Ok(())
    }
}

/// Whether a server refused a download since others are running.
fn is_limit(error: &CommandError) -> bool {
    let Some(ClientError::Refused { reason, .. }) = error.downcast_ref::<ClientError>() else { return false };
    [Reason::CallerLimit, Reason::Overloaded].iter().any(|limit| limit.as_str() == reason)
}
