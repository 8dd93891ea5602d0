//! Runs what sends the messages of a stream, in a task of its own.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tonic::Status;

use crate::{reports::GIVE_UP_AFTER, service::status::panicked};

/// Runs it to its end, or until nobody reads its messages any more. Where it fails or panics, the last message is its status.
pub(super) async fn produce<T>(sender: mpsc::Sender<Result<T, Status>>, run: impl Future<Output = Result<(), Status>>) {
    let failure = tokio::select! {
        end = AssertUnwindSafe(run).catch_unwind() => match end {
            Ok(Ok(())) => return,
            Ok(Err(status)) => status,
            Err(_) => panicked(),
        },
        // The client is gone: stop reading soon.
        () = async { sender.closed().await; tokio::time::sleep(GIVE_UP_AFTER).await } => return,
    };
    // It fails when the client is gone, too.
    let _ = sender.send(Err(failure)).await;
}
