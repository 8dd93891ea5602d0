//! A connection that is ready for HTTP/2, and its end.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};
use tonic::transport::server::Connected;

use super::{
    peer::Peer,
    turns::{TurnReader, Turns},
};
use crate::telemetry::metrics::Metrics;

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// How long a client may take to end a connection that has reached its age and has no call. The transport asks politely, and
/// waits for an answer.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    io: Pin<Box<dyn Io>>,
    peer: Peer,
    /// Until it has come: a client that connects and sends nothing is not waited for.
    preface: Option<Preface>,
    lifetime: Option<Lifetime>,
    /// Until a call was admitted.
    turns: Option<TurnReader>,
    _permit: ConnectionPermit,
}

/// A connection's permit, counted in the metrics.
pub(super) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

/// How old a connection may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxAge {
    /// From then on it takes no new calls.
    pub(super) age: Duration,
    /// How long running calls may go on after that.
    pub(super) grace: Duration,
}

struct Preface {
    missing: usize,
    limit: Pin<Box<Sleep>>,
}

struct Lifetime {
    end: Instant,
    peer: Peer,
    next_look: Pin<Box<Sleep>>,
}

pub(super) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    pub(super) fn new(permit: OwnedSemaphorePermit, metrics: &Arc<Metrics>) -> Self {
        metrics.connected();
        Self { _permit: permit, metrics: Arc::clone(metrics) }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.metrics.disconnected();
    }
}

// === impl Connection ===

impl Connection {
    /// `limit`: for the preface.
    pub(super) fn new(
        io: impl Io + 'static,
        peer: Peer,
        limit: Duration,
        max_age: Option<MaxAge>,
        turns: &Turns,
        permit: ConnectionPermit,
    ) -> Self {
        let preface = Some(Preface { missing: PREFACE_BYTES, limit: Box::pin(tokio::time::sleep(limit)) });
        let lifetime = max_age.map(|max_age| Lifetime::new(max_age, &peer));
        Self { io: Box::pin(io), peer, preface, lifetime, turns: Some(TurnReader::new(turns)), _permit: permit }
    }

    /// The transport does not read while it cannot write.
    fn or_step_back<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() {
            self.turns.iter_mut().for_each(TurnReader::step_back);
        }
        written
    }

    fn check_age(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_over = self.lifetime.as_mut().is_some_and(|lifetime| lifetime.poll_end(context).is_ready());
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_age(context)?;
        let before = buffer.filled().len();
        let this = &mut *self;
        if this.peer.is_known() {
            this.turns = None;
        }
        let read = match &mut this.turns {
            None => this.io.as_mut().poll_read(context, buffer),
            Some(turns) => turns.poll_read(this.io.as_mut(), context, buffer),
        };
        if let Some(preface) = &mut self.preface {
            preface.missing = preface.missing.saturating_sub(buffer.filled().len() - before);
            if preface.missing == 0 {
                self.preface = None;
            } else if read.is_pending() && preface.limit.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_age(context)?;
        let written = self.io.as_mut().poll_write(context, bytes);
        self.or_step_back(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_age(context)?;
        let written = self.io.as_mut().poll_write_vectored(context, slices);
        self.or_step_back(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.io.as_mut().poll_flush(context);
        self.or_step_back(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }
}

// === impl Lifetime ===

impl Lifetime {
    fn new(MaxAge { age, grace }: MaxAge, peer: &Peer) -> Self {
        let next_look = Box::pin(tokio::time::sleep_until(peer.opened + age + LEAVE_LIMIT));
        Self { end: peer.opened + age + grace, peer: peer.clone(), next_look }
    }

    /// Ready when the connection is to be closed, whatever its client does.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.next_look.as_mut().poll(context));
            let now = Instant::now();
            if now >= self.end || !self.peer.has_admitted_calls() {
                return Poll::Ready(());
            }
            self.next_look.as_mut().reset((now + LEAVE_LIMIT).min(self.end));
        }
    }
}
