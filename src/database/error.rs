//! What can go wrong between this program and PostgreSQL.

use std::error::Error as _;

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::error::SqlState;

/// The database could not answer.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection, or it was lost: another try may succeed.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The connection string makes no sense.
    #[error("the database's connection string: {0}")]
    InvalidOptions(String),
    /// It, or what stands before it, is not as this program needs it.
    #[error("{0}")]
    Unsuitable(String),
    /// A statement took longer than it may.
    #[error("the database took longer than a statement may take")]
    StatementTimeout,
    /// The account may not do this.
    #[error("the database account may not do this: {0}")]
    Forbidden(String),
    /// The database refused a statement.
    #[error("the database failed: {0}")]
    Failed(String),
    /// What the database sent has another form than PostgreSQL documents.
    #[error("the database holds unexpected data: {0}")]
    Malformed(String),
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db_error) = error.as_db_error() else {
            // The library's own message leaves out the cause.
            let cause = error.source();
            let text = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            let lost = error.is_closed() || cause.is_none_or(<dyn std::error::Error>::is::<std::io::Error>);
            return if lost { Self::Unavailable(text) } else { Self::Failed(text) };
        };
        let code = db_error.code();
        let detail = db_error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let text = format!("{} [{}]{detail}", db_error.message(), code.code());
        if *code == SqlState::QUERY_CANCELED {
            return Self::StatementTimeout;
        }
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            return Self::Forbidden(text);
        }
        // A standby, after a fail-over perhaps: another try may find the new primary.
        if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::Unavailable(text);
        }
        // Class 08: connection; 53: resources; 57P: the operator or a restart ended it.
        let classes = ["08", "53", "57P"];
        // Others were in the way, or this program was too slow while others waited for it.
        let codes = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        if classes.iter().any(|class| code.code().starts_with(class)) || codes.contains(code) {
            Self::Unavailable(text)
        } else {
            Self::Failed(text)
        }
    }
}

impl From<PoolError> for DatabaseError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::PostCreateHook(HookError::Message(unsuitable)) => Self::Unsuitable(unsuitable.into_owned()),
            PoolError::Timeout(_) => Self::Unavailable("no connection was free or could be made in time".to_owned()),
            PoolError::Closed | PoolError::NoRuntimeSpecified => Self::Unavailable(error.to_string()),
        }
    }
}
