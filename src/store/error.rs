//! What can go wrong in the store, apart from what the domain calls wrong.

use tokio_postgres::error::SqlState;

use crate::{database::DatabaseError, model::UtcTime};

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What an import relied on changed while it ran. Nothing was published, and it may be run again.
    #[error("{0} while the import ran; nothing was published, run it again")]
    Changed(&'static str),
    /// Usage was imported of what a catalog was about to change.
    #[error("usage of what the catalog changes was imported meanwhile; apply it again")]
    UsedMeanwhile,
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The database holds what this version cannot have written.
    #[error("the database holds unexpected data: {0}")]
    Corrupt(String),
    /// The same, by what is not there: records of a load, or the asset of a record.
    #[error("the database holds unexpected data: {0}")]
    Missing(String),
}

/// Nothing can be published, or be fixed to the present, by clocks as they are.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error(
        "the clock of this machine ({here}) and that of the database ({database}) differ by more than {allowed} s, so nothing was \
         published or purged. Set the one that is wrong, or allow more with --max-clock-skew"
    )]
    Skew { here: UtcTime, database: UtcTime, allowed: u64 },
    #[error(
        "the publication clock stands at {last_published_at}, more than a day ahead of the database's clock ({database}): a clock \
         was wrong when that was published. Bring it back first, as docs/operations.md says"
    )]
    Ahead { last_published_at: UtcTime, database: UtcTime },
}

impl StoreError {
    pub(crate) const MONTH_PURGED: Self = Self::Changed("a month of the import was purged");

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// Another try may succeed.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Database(DatabaseError::Unavailable(why.into()))
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let is_without_partition = error.as_db_error().is_some_and(|error| {
            // A check that a row fails has a name, and a missing partition has none. Messages are in the server's language.
            *error.code() == SqlState::CHECK_VIOLATION
                && error.constraint().is_none()
                && error.table() == Some("usage_block")
        });
        if is_without_partition {
            return Self::MONTH_PURGED;
        }
        Self::Database(error.into())
    }
}
