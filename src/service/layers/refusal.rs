//! Answers that end a call before its handler runs.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use tokio::sync::Semaphore;
use tonic::{Status, body::Body};

/// How much of a refused request is read, and for how long.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_LIMIT: Duration = Duration::from_millis(500);
/// How many are read at once; further ones are answered and not read. Nobody's limit counts them.
static DRAINS: Semaphore = Semaphore::const_new(256);

/// Answers with an error, once the caller has sent its request.
pub(super) async fn refuse(request: Request<Body>, status: Status) -> Response<Body> {
    drain(request.into_body()).await;
    status.into_http()
}

/// Reads what a caller is still sending, within limits. An answer before the end of the request makes the transport reset
/// the stream, and some clients then see the reset in place of the answer.
pub(super) async fn drain(mut body: Body) {
    let Ok(_permit) = DRAINS.try_acquire() else { return };
    let mut room = DRAIN_BYTES;
    let read = async {
        while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > room {
                return;
            }
            room -= bytes;
        }
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, read).await;
}
