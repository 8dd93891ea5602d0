//! A response's body, watched to its end: whether its deadline passes, whether anybody reads it, whether the server stops.
//!
//! The transport asks for more only when its peer takes it, so a body that nobody reads is never asked, and would keep
//! what it holds. A watcher beside it ends it all the same.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    admission::Place,
    audit::{Audit, Call},
};
use crate::service::status;

/// A response's body.
pub(in crate::service) struct Watched {
    flow: Arc<Mutex<Flow>>,
    audit: Audit,
    cut_off: CancellationToken,
    watcher: Option<AbortHandle>,
}

/// What ends a body before its end.
pub(in crate::service) struct Bounds {
    /// When the caller gives up, by its own word.
    pub(in crate::service) deadline: Option<Instant>,
    /// How long the body may wait for its reader.
    pub(in crate::service) stall: Duration,
    /// Cancelled when the server can wait no longer.
    pub(in crate::service) cut_off: CancellationToken,
}

/// A body, between the transport and the watcher.
struct Flow {
    /// Gone when it has been ended from here.
    body: Option<Body>,
    /// Whether its end may be taken off: whoever reads it can go on.
    is_resumable: bool,
    /// Given back when the body ends.
    place: Option<Place>,
    /// What the reader is told in the place of the rest.
    end: Option<Status>,
    /// There while the transport waits for the body. Otherwise the body waits for the transport.
    waker: Option<Waker>,
    /// When the transport asked last.
    asked: Instant,
}

// === impl Watched ===

impl Watched {
    pub(in crate::service) fn new(
        body: Body,
        audit: Audit,
        place: Option<Place>,
        is_resumable: bool,
        bounds: Bounds,
    ) -> Self {
        let is_empty = body.is_end_stream();
        let place = place.filter(|_| !is_empty);
        let flow = Flow { body: Some(body), is_resumable, place, end: None, waker: None, asked: Instant::now() };
        let flow = Arc::new(Mutex::new(flow));
        let cut_off = bounds.cut_off.clone();
        let watcher =
            (!is_empty).then(|| tokio::spawn(watch(Arc::downgrade(&flow), audit.call(), bounds)).abort_handle());
        Self { flow, audit, cut_off, watcher }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.iter().for_each(AbortHandle::abort);
    }
}

impl HttpBody for Watched {
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
        // Before the caller can know that the call has ended, and makes another one.
        let is_last = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        let place = if is_last { flow.place.take() } else { None };
        drop(flow);
        drop((ended, place));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.audit.add_bytes(data.len());
            }
            if let Some(trailers) = frame.trailers_ref() {
                // Before the caller can know, so that lines stand in the order of calls that follow each other.
                this.audit.finish(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let flow = lock(&self.flow);
        flow.body.as_ref().map_or(flow.end.is_none(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

// === impl Flow ===

impl Flow {
    /// Ends the body. What is returned is to be dropped when nothing is locked.
    #[must_use]
    fn end_with(&mut self, status: Status) -> (Option<Body>, Option<Place>) {
        self.end = Some(status);
        (self.body.take(), self.place.take())
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
async fn watch(flow: Weak<Mutex<Flow>>, call: Arc<Call>, bounds: Bounds) {
    let Bounds { deadline, stall, cut_off } = bounds;
    loop {
        let Some(stalls) = flow.upgrade().map(|flow| stalls_at(&lock(&flow), stall)) else { return };
        let next = deadline.map_or(stalls, |deadline| deadline.min(stalls));
        let is_cut_off = tokio::select! {
            () = tokio::time::sleep_until(next) => false,
            () = cut_off.cancelled() => true,
        };
        let Some(flow) = flow.upgrade() else { return };
        let mut flow = lock(&flow);
        if is_cut_off {
            // Whoever waits for more looks again, and finds that there is none.
            let waker = flow.waker.take();
            drop(flow);
            waker.into_iter().for_each(Waker::wake);
            return;
        }
        let now = Instant::now();
        let status = if deadline.is_some_and(|deadline| now >= deadline) {
            status::deadline_exceeded()
        } else if now >= stalls_at(&flow, stall) {
            status::stalled()
        } else {
            continue;
        };
        call.end(&status);
        let ended = flow.end_with(status);
        let waker = flow.waker.take();
        drop(flow);
        drop(ended);
        waker.into_iter().for_each(Waker::wake);
        return;
    }
}

/// When the body will have waited too long for its reader, as things are. A body that is waited for does not stall.
fn stalls_at(flow: &Flow, stall: Duration) -> Instant {
    let since = if flow.waker.is_some() { Instant::now() } else { flow.asked };
    since + stall
}
