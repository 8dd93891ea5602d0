//! Work that takes a while.

use crate::{database::DatabaseError, store::StoreError};

/// Runs what may take some hundred milliseconds where it holds up no other call.
pub(super) async fn aside<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(run).await;
    done.map_err(|error| DatabaseError::Failed(error.to_string()).into())
}
