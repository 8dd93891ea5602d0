//! What an import may take.

use std::{fmt, io};

use chrono::Utc;

use crate::model::Month;

/// How far back usage is taken where nothing else is said.
const DEFAULT_MONTHS_BACK: i32 = 120;

/// What an import may take. The default bounds months only: it is for whoever runs the program on files of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLimits {
    /// The first month whose usage is taken. `None`: the one ten years before the current month.
    pub oldest_month: Option<Month>,
    /// The last month whose usage is taken. `None`: the one after the current month.
    pub newest_month: Option<Month>,
    /// The maximum number of rows.
    pub rows: u64,
    /// The maximum number of loads: days of tenants.
    pub loads: usize,
    /// The maximum size of temporary files, in bytes.
    pub disk_bytes: u64,
}

/// An import takes more than it may. Nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportTooLarge {
    #[error("the import has more than {0} rows; send less at a time (--max-import-rows)")]
    Rows(u64),
    #[error("the import has more than {0} days of tenants; send less at a time (--max-import-loads)")]
    Loads(usize),
    #[error("sorting the import takes more than {0} bytes of disk; send less at a time (--max-import-disk-bytes)")]
    Disk(u64),
}

/// The months whose usage an import takes, both ends included; `None`: without a bound. Each month has a partition of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImportMonths {
    oldest: Option<Month>,
    newest: Option<Month>,
}

/// Why usage of a month is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MonthRefused {
    TooOld { month: Month, oldest: Month },
    TooNew { month: Month, newest: Month },
}

// === impl ImportLimits ===

impl Default for ImportLimits {
    fn default() -> Self {
        Self { oldest_month: None, newest_month: None, rows: u64::MAX, loads: usize::MAX, disk_bytes: u64::MAX }
    }
}

// === impl ImportTooLarge ===

impl From<ImportTooLarge> for io::Error {
    fn from(error: ImportTooLarge) -> Self {
        Self::new(io::ErrorKind::QuotaExceeded, error)
    }
}

impl ImportTooLarge {
    /// Whether this is what an error of reading or sorting is about.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref()).copied()
    }
}

// === impl ImportMonths ===

impl ImportMonths {
    /// By the clock of this machine.
    pub(super) fn new(limits: &ImportLimits) -> Self {
        let current = Month::of(Utc::now().date_naive());
        let shifted = |months| current.and_then(|current| current.shifted(months));
        Self {
            oldest: limits.oldest_month.or_else(|| shifted(-DEFAULT_MONTHS_BACK)),
            newest: limits.newest_month.or_else(|| shifted(1)),
        }
    }

    pub(super) fn check(self, month: Month) -> Result<(), MonthRefused> {
        match self {
            Self { oldest: Some(oldest), .. } if month < oldest => Err(MonthRefused::TooOld { month, oldest }),
            Self { newest: Some(newest), .. } if month > newest => Err(MonthRefused::TooNew { month, newest }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for MonthRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld { month, oldest } => {
                write!(f, "{month} is before {oldest}, the first month that is imported (--oldest-month)")
            }
            Self::TooNew { month, newest } => {
                write!(f, "{month} is after {newest}, the last month that is imported: at most one month ahead")
            }
        }
    }
}
