//! A response's body that is monitored to its end: its time may pass, its reader may stall, the server may stop.
//!
//! The transport polls a body only when its peer has room for more. A body that nobody reads is never polled, and would keep
//! what it holds. So a task watches it, and ends it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use crate::service::status;

pub(super) struct MonitoredBody {
    flow: Arc<Mutex<Flow>>,
    cut_off: CancellationToken,
    watcher: AbortHandle,
}

/// What ends a body before its end.
pub(super) struct Bounds {
    /// When it ends in any case, and with which status.
    pub(super) end: Option<(Instant, fn() -> Status)>,
    /// How long the body may wait for its reader.
    pub(super) stall: Duration,
    /// Cancelled when the server can wait no longer.
    pub(super) cut_off: CancellationToken,
    /// Whether the rest may be cut off: the reader can go on with another call.
    pub(super) is_resumable: bool,
}

/// A body, between the transport and the watcher.
struct Flow {
    /// `None` once it has been ended here.
    body: Option<Body>,
    is_resumable: bool,
    /// What the reader gets in place of the rest.
    end: Option<Status>,
    /// There while the transport waits for the body. Otherwise the body waits for the transport.
    waker: Option<Waker>,
    /// When the transport polled last.
    asked: Instant,
}

// === impl MonitoredBody ===

impl MonitoredBody {
    /// `ended` gets the status of a body that is ended here.
    pub(super) fn new(body: Body, ended: impl FnOnce(&Status) + Send + 'static, bounds: Bounds) -> Self {
        let is_resumable = bounds.is_resumable;
        let flow = Flow { body: Some(body), is_resumable, end: None, waker: None, asked: Instant::now() };
        let flow = Arc::new(Mutex::new(flow));
        let cut_off = bounds.cut_off.clone();
        let watcher = tokio::spawn(watch(Arc::downgrade(&flow), ended, bounds)).abort_handle();
        Self { flow, cut_off, watcher }
    }
}

impl Drop for MonitoredBody {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl HttpBody for MonitoredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let mut flow = lock(&this.flow);
        flow.asked = Instant::now();
        flow.waker = None;
        let is_cut_off = this.cut_off.is_cancelled();
        let mut ended = None;
        // A reader who is slower than the server would never find it waiting.
        if is_cut_off && flow.is_resumable && flow.body.as_ref().is_some_and(|body| !body.is_end_stream()) {
            ended = Some(flow.end_with(status::shutting_down()));
        }
        let polled = flow.body.as_mut().map(|body| Pin::new(body).poll_frame(context));
        let frame = match polled {
            Some(Poll::Ready(frame)) => frame,
            // What is ready is still sent when the server stops; what has to be waited for is not.
            Some(Poll::Pending) if is_cut_off => {
                ended = Some(flow.end_with(status::shutting_down()));
                flow.last_frame()
            }
            Some(Poll::Pending) => {
                flow.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            None => flow.last_frame(),
        };
        drop(flow);
        drop(ended);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let flow = lock(&self.flow);
        flow.body.as_ref().map_or(flow.end.is_none(), Body::is_end_stream)
    }
}

// === impl Flow ===

impl Flow {
    /// Ends the body. What is returned is to be dropped when nothing is locked.
    #[must_use]
    fn end_with(&mut self, status: Status) -> Option<Body> {
        self.end = Some(status);
        self.body.take()
    }

    /// The trailers, once.
    fn last_frame(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        let status = self.end.take()?;
        let mut trailers = HeaderMap::new();
        Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
    }
}

fn lock(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the body when its time has come.
async fn watch(flow: Weak<Mutex<Flow>>, ended: impl FnOnce(&Status), bounds: Bounds) {
    let Bounds { end, stall, cut_off, .. } = bounds;
    loop {
        let Some(stalls) = flow.upgrade().map(|flow| stalls_at(&lock(&flow), stall)) else { return };
        let next = end.map_or(stalls, |(end, _)| end.min(stalls));
        let is_cut_off = tokio::select! {
            () = tokio::time::sleep_until(next) => false,
            () = cut_off.cancelled() => true,
        };
        let Some(flow) = flow.upgrade() else { return };
        let mut flow = lock(&flow);
        if is_cut_off {
            // A reader that waits polls again, and gets the end.
            let waker = flow.waker.take();
            drop(flow);
            waker.into_iter().for_each(Waker::wake);
            return;
        }
        let now = Instant::now();
        let status = match end {
            Some((end, status)) if now >= end => status(),
            _ if now >= stalls_at(&flow, stall) => status::stalled(),
            _ => continue,
        };
        ended(&status);
        let body = flow.end_with(status);
        let waker = flow.waker.take();
        drop(flow);
        drop(body);
        waker.into_iter().for_each(Waker::wake);
        return;
    }
}

/// When the body will have waited too long for its reader, as things are. A body that is waited for does not stall.
fn stalls_at(flow: &Flow, stall: Duration) -> Instant {
    let since = if flow.waker.is_some() { Instant::now() } else { flow.asked };
    since + stall
}
