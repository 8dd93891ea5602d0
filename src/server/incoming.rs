//! Connections as they come in: accepted, their handshakes made side by side, and handed on when they are ready.

use std::{
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
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::{grpc::Peer, reload::Reloaded};

/// Handshakes at once. A caller beyond that is turned away: it is not the server that is slow.
const MAX_HANDSHAKES: usize = 1024;
/// Connections that wait to be taken over.
const QUEUED_CONNECTIONS: usize = 64;
/// How long to wait when the system can give no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// TLS for incoming connections.
pub(super) struct Tls {
    pub(super) config: Reloaded<ServerConfig>,
    pub(super) handshake_limit: Duration,
}

/// A connection that is ready for HTTP/2.
pub(super) struct Connection {
    io: Pin<Box<dyn Io>>,
    peer: Peer,
}

/// Accepts while it lives.
pub(super) struct Acceptor(JoinHandle<()>);

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Accepts connections in the background.
pub(super) fn accept(listener: TcpListener, tls: Option<Tls>) -> (Acceptor, ReceiverStream<io::Result<Connection>>) {
    let (ready, connections) = mpsc::channel(QUEUED_CONNECTIONS);
    let task = tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Out of file descriptors, for one: asking again at once would be a busy loop.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // It only costs latency where it fails.
            let _ = stream.set_nodelay(true);
            match &tls {
                None => {
                    if ready.send(Ok(Connection::plain(stream))).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                        tracing::warn!("{MAX_HANDSHAKES} handshakes are going on; a connection was turned away");
                        continue;
                    };
                    let (acceptor, limit) = (TlsAcceptor::from(tls.config.get()), tls.handshake_limit);
                    let ready = ready.clone();
                    tokio::spawn(async move {
                        let connection = handshake(acceptor, stream, limit).await;
                        drop(permit);
                        if let Some(connection) = connection {
                            // Where nobody takes it any more, the server is stopping.
                            let _ = ready.send(Ok(connection)).await;
                        }
                    });
                }
            }
        }
    });
    (Acceptor(task), ReceiverStream::new(connections))
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, limit: Duration) -> Option<Connection> {
    let address = stream.peer_addr().ok();
    match tokio::time::timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = Peer { address, certificate: certificate.map(|first| Arc::new(first.clone().into_owned())) };
            Some(Connection { io: Box::pin(stream), peer })
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

// === impl Connection ===

impl Connection {
    fn plain(stream: TcpStream) -> Self {
        let peer = Peer { address: stream.peer_addr().ok(), certificate: None };
        Self { io: Box::pin(stream), peer }
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
        self.io.as_mut().poll_read(context, buffer)
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
