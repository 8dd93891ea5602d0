//! Taking usage in: read, check every row, sort, compare with what is in force, publish.

mod check;
mod codec;
mod comparison;
mod csv;
mod digest;
mod findings;
mod intake;
mod plan;
mod publish;
mod record_location;
mod report;
mod row;
mod sort;
mod unicode_ids;

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use chrono::NaiveDate;

pub use check::{Checker, Row};
pub use csv::{Input, UnsupportedFormat};
pub use findings::{InvalidUsage, UsageProblem, UsageWarning, WarningKind};
pub use intake::Intake;
pub use report::{ImportReport, LoadOutcome, LoadReport, OmittedLoad, Restatement};
pub use row::RowReader;

use crate::{
    auth::TenantScope,
    model::{Source, TenantId},
    store::{Store, StoreConfig, StoreError},
};
use csv::ReadError;
use plan::Plan;
use record_location::LocationNames;
use sort::Sorted;

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

/// How records that were prepared are published.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What was delivered, for instance the files' names.
    pub name: &'a str,
    /// Whether it is the whole of all the days that it has records of, for all the organizations that it has records of: what
    /// it has no records of is empty.
    pub is_complete: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// An import did not publish anything.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The usage is not sound.
    #[error(transparent)]
    Invalid(#[from] InvalidUsage),
    /// A file is something else than usage as CSV.
    #[error("{file}: {error}")]
    UnsupportedFormat { file: String, error: UnsupportedFormat },
    /// The input cannot be read, or there is no room for sorting it.
    #[error("{context}: {error}")]
    Io {
        /// The file, or the step of the import.
        context: String,
        error: io::Error,
    },
    /// The catalog has no such tenant, or it is not the caller's.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// There is no load to withdraw.
    #[error("source {source_name} has delivered no usage of this tenant on {usage_day}")]
    NothingToWithdraw {
        /// Whose usage.
        source_name: Source,
        /// The UTC day.
        usage_day: NaiveDate,
    },
    /// The database failed.
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

// === impl Import ===

impl Import {
    /// Reads what rows are checked against: the tenants in scope, and the meters.
    pub async fn new(
        store: &Store,
        config: StoreConfig,
        scope: &TenantScope,
        imported_by: &str,
        source: Source,
    ) -> Result<Self, ImportError> {
        let tenants = store.import_tenants(scope).await?;
        let meters = store.meters().await?;
        Ok(Self {
            config,
            checker: Arc::new(Checker::new(tenants, meters)),
            source,
            imported_by: imported_by.to_owned(),
            progress: Arc::new(Progress::default()),
        })
    }

    /// How far the import is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// An empty intake for records of a stream.
    pub fn intake(&self) -> Intake {
        Intake::new(Arc::clone(&self.checker), self.progress(), LocationNames::Records)
    }

    /// Reads files as one delivery.
    pub async fn read(&self, inputs: Vec<Input>) -> Result<Prepared, ImportError> {
        let names = inputs.iter().map(Input::name).collect();
        let mut intake = Intake::new(Arc::clone(&self.checker), self.progress(), LocationNames::Lines(names));
        blocking("reading", move || {
            for (number, input) in inputs.iter().enumerate() {
                intake.begin_input(number);
                csv::read(input, &mut intake).map_err(|error| match error {
                    ReadError::Io(error) => ImportError::Io { context: input.name(), error },
                    ReadError::UnsupportedFormat(error) => ImportError::UnsupportedFormat { file: input.name(), error },
                })?;
            }
            finish(intake)
        })
        .await
    }

    /// Sorts and sums up what was taken in.
    pub async fn prepare(&self, intake: Intake) -> Result<Prepared, ImportError> {
        blocking("sorting", move || finish(intake)).await
    }
}

fn finish(intake: Intake) -> Result<Prepared, ImportError> {
    Ok(intake.finish().map_err(|error| ImportError::Io { context: "sorting".to_owned(), error })??)
}

/// Does what waits for disks where nobody else waits.
async fn blocking<T: Send + 'static>(
    step: &str,
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| Err(ImportError::Io { context: step.to_owned(), error: io::Error::other(error) }))
}

// === impl Prepared ===

impl Prepared {
    /// The tenants' days that it has usage of, in order.
    pub fn tenant_days(&self) -> impl Iterator<Item = (TenantId, NaiveDate)> + '_ {
        self.plan.loads.iter().map(|planned| (planned.tenant_id, planned.load.key.usage_day))
    }
}
