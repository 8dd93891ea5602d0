//! What can go wrong in the store, apart from what the domain calls wrong.

use tokio_postgres::error::SqlState;

use super::ClockError;
use crate::database::DatabaseError;

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What an import relied on changed while it ran. Nothing was published, and it may be run again.
    #[error("{0} while the import ran; nothing was published, run it again")]
    Changed(&'static str),
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The database holds what this version cannot have written.
    #[error("the database holds unexpected data: {0}")]
    Corrupt(String),
}

impl StoreError {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
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
            return Self::Changed("a month of the import was purged");
        }
        Self::Database(error.into())
    }
}
