//! Imports usage: reads, checks every row, sorts, compares with the loads in force, publishes.

mod check;
mod codec;
mod comparison;
mod csv;
mod digest;
mod findings;
mod intake;
mod limits;
mod lines;
mod plan;
mod publish;
mod record_location;
mod report;
mod row;
mod runs;
mod sort;
mod temporary;
mod tenants;
mod unicode_ids;

use std::{
    io,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
};

use chrono::NaiveDate;

pub use check::{Checker, Row};
pub use csv::{Input, UnsupportedFormat};
pub use findings::{InvalidUsage, UsageProblem, UsageWarning, WarningKind};
pub use intake::Intake;
pub use limits::{ImportLimits, ImportTooLarge};
pub use report::{ImportReport, LoadOutcome, LoadReport, OmittedLoad, Restatement};
pub use row::RowReader;
pub use temporary::check_temporary_directory;

use crate::{
    auth::TenantScope,
    model::{Source, TenantId},
    store::{ImportSession, Store, StoreError},
};
use csv::ReadError;
use limits::ImportMonths;
use plan::Plan;
use record_location::LocationNames;
use sort::Sorted;
use tenants::{Tenants, store_error};

/// The number of rows per batch to the database.
const BATCH_ROWS: usize = 4096;
/// How many pieces of an input are read ahead.
const PIECES: usize = 2;

/// An import that reads rows, and then publishes them.
pub struct Import {
    store: Store,
    scope: TenantScope,
    checker: Arc<Checker>,
    source: Source,
    imported_by: String,
    progress: Arc<Progress>,
    limits: ImportLimits,
}

/// The progress of an import.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the input, before decompression.
    pub bytes_read: AtomicU64,
    pub rows_read: AtomicU64,
    /// 0 until it is known.
    pub rows_to_write: AtomicU64,
    pub rows_written: AtomicU64,
}

/// How records that were prepared are published.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// For instance the names of the files.
    pub name: &'a str,
    /// Whether it is the whole of all the days that it has records of, for all the organizations that it has records of: what
    /// it has no records of is empty.
    pub is_complete: bool,
    /// Report what would be done, without doing it.
    pub dry_run: bool,
}

/// An import did not publish anything.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Invalid(#[from] InvalidUsage),
    /// A file is not CSV.
    #[error("{file}: {error}")]
    UnsupportedFormat { file: String, error: UnsupportedFormat },
    /// The input cannot be read, or sorting it failed, for instance because the disk is full.
    #[error("{context}: {error}")]
    Io {
        /// The file, or the step of the import.
        context: String,
        error: io::Error,
    },
    #[error(transparent)]
    TooLarge(#[from] ImportTooLarge),
    /// The catalog has no such tenant, or it is not the caller's.
    #[error("there is no such tenant")]
    UnknownTenant,
    #[error("source {source_name} has delivered no usage of this tenant on {usage_day}")]
    NothingToWithdraw { source_name: Source, usage_day: NaiveDate },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rows that were read, checked, sorted and planned.
pub struct Prepared {
    sorted: Sorted,
    plan: Plan,
    record_count: u64,
    warnings: Vec<UsageWarning>,
}

// === impl ImportError ===

impl ImportError {
    fn io(context: String, error: io::Error) -> Self {
        match (ImportTooLarge::of(&error), store_error(error)) {
            (Some(too_large), _) => Self::TooLarge(too_large),
            (None, Ok(error)) => Self::Store(error),
            (None, Err(error)) => Self::Io { context, error },
        }
    }

    fn reading(input: &Input, error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::io(input.name(), error),
            ReadError::UnsupportedFormat(error) => Self::UnsupportedFormat { file: input.name(), error },
        }
    }

    /// Sorting failed.
    pub fn sorting(error: io::Error) -> Self {
        Self::io("sorting".to_owned(), error)
    }
}

// === impl Import ===

impl Import {
    /// Reads the meters that rows are checked against. It has the default limits.
    pub async fn new(
        store: &Store,
        scope: &TenantScope,
        imported_by: &str,
        source: Source,
    ) -> Result<Self, ImportError> {
        Self::with_limits(store, scope, (imported_by, source), ImportLimits::default()).await
    }

    /// The same with limits, and for a caller and its source.
    pub async fn with_limits(
        store: &Store,
        scope: &TenantScope,
        (imported_by, source): (&str, Source),
        limits: ImportLimits,
    ) -> Result<Self, ImportError> {
        let meters = store.meters().await?;
        Ok(Self {
            store: store.clone(),
            scope: scope.clone(),
            checker: Arc::new(Checker::new(meters, ImportMonths::new(&limits))),
            source,
            imported_by: imported_by.to_owned(),
            progress: Arc::new(Progress::default()),
            limits,
        })
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn new_intake(&self, names: LocationNames) -> Intake {
        let tenants = Tenants::new(self.store.clone(), self.scope.clone());
        Intake::new(Arc::clone(&self.checker), tenants, self.progress(), names, self.limits)
    }

    /// A new intake for the records of a stream. Call it on a runtime.
    pub fn intake(&self) -> Intake {
        self.new_intake(LocationNames::Records)
    }

    /// Reads files as one delivery.
    ///
    /// # Errors
    ///
    /// [`ImportError::Invalid`] with the first problems of all files, or the first file that cannot be read at all.
    pub async fn read(&self, inputs: Vec<Input>) -> Result<Prepared, ImportError> {
        let names = inputs.iter().map(Input::name).collect();
        let mut intake = self.new_intake(LocationNames::Lines(names));
        let progress = self.progress();
        let read = blocking("reading", move || {
            // While some lines are checked, the next ones are read. Who refuses lines does not wait for more of them.
            let (send, pieces) = std::sync::mpsc::sync_channel(PIECES);
            let names: Vec<String> = inputs.iter().map(Input::name).collect();
            let reader = std::thread::spawn(move || {
                inputs.iter().enumerate().try_for_each(|(number, input)| {
                    let read = csv::read(input, Arc::clone(&progress), |piece| send.send((number, piece)).is_ok());
                    read.map_err(|error| ImportError::reading(input, error))
                })
            });
            let failed = |number: usize, error| ImportError::io(names[number].clone(), error);
            let add = |intake: &mut Intake, announced: &mut Option<(usize, csv::Piece)>| match announced.take() {
                Some((number, piece)) => intake.add_piece(number, piece).map_err(|error| failed(number, error)),
                None => Ok(()),
            };
            // The tenants of a piece are looked up while the piece before it is checked, which does not wait for one to come.
            let mut announced = None;
            loop {
                let mut next = pieces.try_recv().ok();
                if next.is_none() {
                    add(&mut intake, &mut announced)?;
                    next = pieces.recv().ok();
                }
                let Some((number, piece)) = next else { break };
                intake.announce(&piece).map_err(|error| failed(number, error))?;
                add(&mut intake, &mut announced)?;
                announced = Some((number, piece));
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            finish(intake, || true)
        });
        let (mut read, mut connect) = (pin!(read), pin!(ImportSession::connect_ahead(&self.store)));
        tokio::select! {
            prepared = &mut read => {
                // What has begun is of use to an import that goes on.
                if prepared.is_ok() {
                    connect.await;
                }
                prepared
            }
            () = &mut connect => read.await,
        }
    }

    /// Sorts and adds up the collected rows.
    pub async fn prepare(&self, intake: Intake) -> Result<Prepared, ImportError> {
        // Dropped with this call: a caller who has gone must not have the server sort on.
        let wanted = Arc::new(());
        let waits = Arc::downgrade(&wanted);
        blocking("sorting", move || finish(intake, || waits.strong_count() > 0)).await
    }
}

fn finish(intake: Intake, is_wanted: impl Fn() -> bool + Sync) -> Result<Prepared, ImportError> {
    Ok(intake.finish(is_wanted).map_err(ImportError::sorting)??)
}

/// Runs blocking work on a separate thread. `step` names it in errors.
async fn blocking<T: Send + 'static>(
    step: &str,
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| Err(ImportError::Io { context: step.to_owned(), error: io::Error::other(error) }))
}

// === impl Prepared ===

impl Prepared {
    /// The tenant and day of each load, in order.
    pub fn tenant_days(&self) -> impl Iterator<Item = (TenantId, NaiveDate)> + '_ {
        self.plan.loads.iter().map(|planned| (planned.tenant_id, planned.load.key.usage_day))
    }
}
