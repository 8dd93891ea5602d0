//! Taking usage in: read, check every row, sort, compare with what is in force, publish.

mod check;
mod codec;
mod csv_input;
mod outcome;
mod plan;
mod problems;
mod sort;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::NaiveDate;
use tokio::sync::mpsc;

pub use check::{Checker, RawRecord};
pub use csv_input::Input;
pub use problems::{InvalidUsage, UsageProblem};

use crate::{
    auth::{Denied, Principal, Role},
    model::{Source, TenantId, UtcTime},
    store::{Assumed, ImportSession, LoadKey, NewLoad, PublishedLoad, Store, StoreConfig, StoreError},
};
use outcome::Known;
use plan::Plan;
use problems::Problems;
use sort::{Sorted, Sorter};

/// How many rows go to the database at a time.
const BATCH_ROWS: usize = 4096;

/// An import that reads rows, and then publishes them.
pub struct Import {
    config: StoreConfig,
    checker: Arc<Checker>,
    source: Source,
    imported_by: String,
    progress: Arc<Progress>,
}

/// How far an import is; read it as often as you like.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the input that were read, compressed as it may be.
    pub bytes_read: AtomicU64,
    /// Rows that were read and checked.
    pub rows_read: AtomicU64,
    /// Rows that are to be written; 0 until that is known.
    pub rows_to_write: AtomicU64,
    /// Rows that were written.
    pub rows_written: AtomicU64,
}

/// What an import did, or would do.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// How many records were read.
    pub record_count: u64,
    /// What became of each tenant's day, ordered by tenant id and day.
    pub loads: Vec<LoadReport>,
    /// When the loads were published; `None` where nothing changed or nothing was to be published.
    pub published_at: Option<UtcTime>,
}

/// What became of a tenant's day.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Whose usage.
    pub tenant_id: TenantId,
    /// The UTC day.
    pub usage_day: NaiveDate,
    /// How many records it has now.
    pub record_count: i32,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// What was done.
    pub outcome: LoadOutcome,
    /// Another source that the same content is in force from: it counts twice, which is seldom meant.
    pub also_from: Option<String>,
}

/// What was done with a tenant's day.
#[derive(Clone, Debug)]
pub enum LoadOutcome {
    /// It is the first of its day and source.
    Published,
    /// It superseded another load.
    Restated(Restatement),
    /// The day has this very content already.
    Unchanged,
}

/// How a restatement differs from what it superseded.
#[derive(Clone, Debug)]
pub struct Restatement {
    /// How many records the superseded load has.
    pub superseded_record_count: i32,
    /// When it had been published.
    pub superseded_published_at: UtcTime,
    /// When this very content was published before, to be superseded since: an old file may have come again.
    pub returns_to: Option<UtcTime>,
    /// Per meter, by name: the quantity before and after, as plain decimals.
    pub quantities: Vec<(String, String, String)>,
}

/// An import did not publish anything.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The usage is not sound.
    #[error(transparent)]
    Invalid(#[from] InvalidUsage),
    /// The input cannot be read, or there is no room for sorting it.
    #[error("{place}: {error}")]
    Io {
        /// What was read or written.
        place: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The caller may not import.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rows that were read, checked, sorted and planned.
pub struct Prepared {
    sorted: Sorted,
    plan: Plan,
    record_count: u64,
}

/// Takes rows in, from wherever they come.
pub struct Intake {
    checker: Arc<Checker>,
    sorter: Sorter,
    problems: Problems,
    progress: Arc<Progress>,
    record_count: u64,
    place_word: &'static str,
}

// === impl Intake ===

impl Intake {
    /// Checks a row. `place` is its line in a file, or its number in a stream. The error means that the disk is full or
    /// broken; what is wrong with the row is told when the intake is prepared.
    pub fn add(&mut self, place: u64, raw: &RawRecord<'_>) -> std::io::Result<()> {
        self.record_count += 1;
        self.progress.rows_read.fetch_add(1, Ordering::Relaxed);
        if let Some(row) = self.checker.check(place, raw, &mut self.problems) {
            self.sorter.push(&row)?;
        }
        Ok(())
    }

    fn refuse(&mut self, problem: UsageProblem) {
        self.problems.add(problem);
    }

    /// Sorts, finds doubles, and sums up.
    fn finish(mut self) -> std::io::Result<Result<Prepared, InvalidUsage>> {
        let mut sorted = self.sorter.finish()?;
        let plan = plan::plan(&mut sorted, &self.checker, self.place_word, &mut self.problems)?;
        Ok(self.problems.into_result().map(|()| Prepared { sorted, plan, record_count: self.record_count }))
    }
}

// === impl Import ===

impl Import {
    /// Reads what rows are checked against.
    pub async fn new(
        store: &Store,
        config: StoreConfig,
        principal: &Principal,
        source: Source,
    ) -> Result<Self, ImportError> {
        let tenants = store.import_tenants(principal.scope_as(Role::UsageImport)?).await?;
        let meters = store.meters().await?;
        Ok(Self {
            config,
            checker: Arc::new(Checker::new(tenants, meters)),
            source,
            imported_by: principal.subject().to_owned(),
            progress: Arc::new(Progress::default()),
        })
    }

    /// How far the import is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// An empty intake. `place_word` is what problems call a place: `line` or `record`.
    pub fn intake(&self, place_word: &'static str) -> Intake {
        Intake {
            checker: Arc::clone(&self.checker),
            sorter: Sorter::default(),
            problems: Problems::default(),
            progress: Arc::clone(&self.progress),
            record_count: 0,
            place_word,
        }
    }

    /// Reads a CSV file, or standard input.
    pub async fn read(&self, input: Input) -> Result<Prepared, ImportError> {
        let intake = self.intake("line");
        let place = input.name();
        let result = tokio::task::spawn_blocking(move || csv_input::read(&input, intake).and_then(Intake::finish));
        match result.await {
            Ok(Ok(prepared)) => Ok(prepared?),
            Ok(Err(error)) => Err(ImportError::Io { place, error }),
            Err(error) => Err(ImportError::Io { place, error: std::io::Error::other(error) }),
        }
    }

    /// Sorts and sums up what was taken in.
    pub async fn prepare(&self, intake: Intake) -> Result<Prepared, ImportError> {
        let io = |error| ImportError::Io { place: "sorting".to_owned(), error };
        let result = tokio::task::spawn_blocking(move || intake.finish()).await;
        Ok(result.map_err(|error| io(std::io::Error::other(error)))?.map_err(io)??)
    }

    /// Publishes every load that differs from the one in force. With `dry_run`, it only says what it would do.
    pub async fn publish(&self, prepared: Prepared, name: &str, dry_run: bool) -> Result<ImportReport, ImportError> {
        let Prepared { sorted, plan, record_count } = prepared;
        let mut session = ImportSession::open(&self.config, self.source.clone()).await?;
        let keys: Vec<LoadKey> = plan.loads.iter().map(|planned| planned.load.key).collect();
        let in_force = session.in_force(&keys).await?;
        let mut outcomes: Vec<PublishedLoad> = plan
            .loads
            .iter()
            .map(|planned| match in_force.get(&planned.load.key) {
                None => PublishedLoad::First,
                Some(present) if present.has(&planned.load.digest) => PublishedLoad::Unchanged,
                Some(present) => PublishedLoad::Superseded(present.clone()),
            })
            .collect();
        let changed: Vec<usize> =
            (0..outcomes.len()).filter(|&index| outcomes[index] != PublishedLoad::Unchanged).collect();
        let mut published_at = None;
        if !dry_run && !changed.is_empty() {
            let publication = self.write(&mut session, sorted, &plan, &changed, name).await?;
            published_at = publication.published_at;
            for (&index, outcome) in changed.iter().zip(publication.loads) {
                outcomes[index] = outcome;
            }
        }
        let known = match Known::look_up(&session, &plan.loads, &outcomes).await {
            // What is published is, whatever can be told of it.
            Err(error) if published_at.is_some() => {
                tracing::warn!(%error, "the import was published, but what it changed cannot be told");
                Known::default()
            }
            known => known?,
        };
        let loads = known.reports(&plan.loads, outcomes, self.checker.meters())?;
        Ok(ImportReport { record_count, loads, published_at })
    }

    async fn write(
        &self,
        session: &mut ImportSession,
        mut sorted: Sorted,
        plan: &Plan,
        changed: &[usize],
        name: &str,
    ) -> Result<crate::store::Publication, ImportError> {
        let loads: Vec<NewLoad> = changed.iter().map(|&index| plan.loads[index].load.clone()).collect();
        let rows: u64 = loads.iter().map(|load| u64::try_from(load.record_count).unwrap_or(0)).sum();
        self.progress.rows_to_write.store(rows, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(4);
        let checker = Arc::clone(&self.checker);
        let wanted = changed.to_vec();
        let reader = tokio::task::spawn_blocking(move || {
            plan::records(&mut sorted, &checker, &wanted, |batch| sender.blocking_send(batch).is_ok())
        });
        let progress = &self.progress;
        let assumed = self.assumed(plan, changed);
        let publication = session
            .publish(&loads, &assumed, receiver, name, &self.imported_by, |count| {
                progress.rows_written.fetch_add(count, Ordering::Relaxed);
            })
            .await;
        // Why the rows stopped coming says more than that they did.
        match reader.await {
            Ok(Ok(())) => Ok(publication?),
            Ok(Err(error)) => Err(ImportError::Io { place: "sorted rows".to_owned(), error }),
            Err(error) => Err(ImportError::Io { place: "sorted rows".to_owned(), error: std::io::Error::other(error) }),
        }
    }

    /// What the import went by, to be looked at again when it publishes.
    fn assumed(&self, plan: &Plan, changed: &[usize]) -> Assumed {
        let unchanged = plan.loads.iter().enumerate().filter(|(index, _)| changed.binary_search(index).is_err());
        let mut tenants: Vec<_> =
            plan.loads.iter().filter_map(|planned| self.checker.tenant(planned.tenant_id)).collect();
        tenants.sort_by_key(|tenant| tenant.key);
        tenants.dedup_by_key(|tenant| tenant.key);
        Assumed {
            unchanged: unchanged.map(|(_, planned)| (planned.load.key, planned.load.digest)).collect(),
            tenants,
            meters: self.checker.meters().clone(),
        }
    }
}

// === impl Prepared ===

impl Prepared {
    /// The tenants' days that it has usage of, in order.
    pub fn tenant_days(&self) -> impl Iterator<Item = (TenantId, NaiveDate)> + '_ {
        self.plan.loads.iter().map(|planned| (planned.tenant_id, planned.load.key.usage_day))
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}
