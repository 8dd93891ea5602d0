//! Accepts connections and makes their TLS handshakes side by side.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, Sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::peer::Peer;
use crate::{reload::Reloaded, telemetry::metrics::Metrics};

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// How often the log says that connections cannot be taken.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// Connections that wait for the transport.
const QUEUED_CONNECTIONS: usize = 64;
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Admission {
    pub(super) tls: Option<Reloaded<ServerConfig>>,
    /// Open at once, those that have not finished their handshake included.
    pub(super) max_connections: usize,
    /// How long TLS, and then the preface of HTTP/2, may take.
    pub(super) handshake_limit: Duration,
    pub(super) metrics: Arc<Metrics>,
}

/// A connection that is ready for HTTP/2.
pub(super) struct Connection {
    io: Pin<Box<dyn Io>>,
    peer: Peer,
    /// Until it has come: a client that connects and sends nothing is not waited for.
    preface: Option<Preface>,
    _permit: ConnectionPermit,
}

/// A connection's permit, counted in the metrics.
struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

struct Preface {
    missing: usize,
    limit: Pin<Box<Sleep>>,
}

/// A warning that is written once in a while.
#[derive(Default)]
struct Warning(Option<Instant>);

/// Accepts until it is dropped.
pub(super) struct Acceptor(JoinHandle<()>);

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Accepts connections in the background.
pub(super) fn accept(
    listener: TcpListener,
    admission: Admission,
) -> (Acceptor, ReceiverStream<io::Result<Connection>>) {
    let (ready, connections) = mpsc::channel(QUEUED_CONNECTIONS);
    let task = tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(admission.max_connections));
        let mut warning = Warning::default();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Without file descriptors, for instance. Without a pause this would be a busy loop.
                Err(error) => {
                    warning.tell(|| tracing::warn!(%error, "cannot accept connections"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                admission.metrics.connection_refused();
                warning.tell(|| {
                    tracing::warn!("as many connections are open as --max-connections allows; more are closed");
                });
                continue;
            };
            let permit = ConnectionPermit::new(permit, &admission.metrics);
            // A failure only costs latency.
            let _ = stream.set_nodelay(true);
            let limit = admission.handshake_limit;
            match &admission.tls {
                None => {
                    let peer = Peer { address: stream.peer_addr().ok(), certificate: None };
                    if ready.send(Ok(Connection::new(stream, peer, limit, permit))).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    let acceptor = TlsAcceptor::from(tls.get());
                    let ready = ready.clone();
                    tokio::spawn(async move {
                        if let Some((stream, peer)) = handshake(acceptor, stream, limit).await {
                            // It fails when the server is stopping.
                            let _ = ready.send(Ok(Connection::new(stream, peer, limit, permit))).await;
                        }
                    });
                }
            }
        }
    });
    (Acceptor(task), ReceiverStream::new(connections))
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, limit: Duration) -> Option<(TlsStream<TcpStream>, Peer)> {
    let address = stream.peer_addr().ok();
    match tokio::time::timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = certificate.map(|first| Arc::new(first.clone().into_owned()));
            Some((stream, Peer { address, certificate }))
        }
        Ok(Err(error)) => {
            tracing::debug!(?address, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(?address, "a TLS handshake took too long");
            None
        }
    }
}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    fn new(permit: OwnedSemaphorePermit, metrics: &Arc<Metrics>) -> Self {
        metrics.connected();
        Self { _permit: permit, metrics: Arc::clone(metrics) }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.metrics.disconnected();
    }
}

// === impl Warning ===

impl Warning {
    fn tell(&mut self, tell: impl FnOnce()) {
        if self.0.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            self.0 = Some(Instant::now());
            tell();
        }
    }
}

// === impl Connection ===

impl Connection {
    fn new(io: impl Io + 'static, peer: Peer, limit: Duration, permit: ConnectionPermit) -> Self {
        let limit = Box::pin(tokio::time::sleep(limit));
        let preface = Some(Preface { missing: PREFACE_BYTES, limit });
        Self { io: Box::pin(io), peer, preface, _permit: permit }
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
        let before = buffer.filled().len();
        let read = self.io.as_mut().poll_read(context, buffer);
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
        self.io.as_mut().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }
}

// === impl Acceptor ===

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.abort();
    }
}
