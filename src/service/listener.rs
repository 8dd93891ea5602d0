//! Accepts connections and makes their TLS handshakes side by side.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    connection::{Connection, ConnectionPermit, MaxAge},
    peer::Peer,
    turns::Turns,
};
use crate::{reload::Reloaded, telemetry::metrics::Metrics};

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
    /// `None`: any.
    pub(super) max_age: Option<MaxAge>,
    pub(super) metrics: Arc<Metrics>,
}

/// Accepts until it is dropped.
pub(super) struct Acceptor(JoinHandle<()>);

/// Accepts connections in the background.
pub(super) fn accept(
    listener: TcpListener,
    admission: Admission,
) -> (Acceptor, ReceiverStream<io::Result<Connection>>) {
    let (ready, connections) = mpsc::channel(QUEUED_CONNECTIONS);
    let task = tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(admission.max_connections));
        let turns = Turns::default();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Without file descriptors, for instance. Without a pause this would be a busy loop.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                admission.metrics.connection_refused();
                tracing::warn!("as many connections are open as --max-connections allows; more are closed");
                continue;
            };
            let permit = ConnectionPermit::new(permit, &admission.metrics);
            // A failure only costs latency.
            let _ = stream.set_nodelay(true);
            let (limit, max_age) = (admission.handshake_limit, admission.max_age);
            match &admission.tls {
                None => {
                    let peer = Peer::new(stream.peer_addr().ok(), None);
                    if ready.send(Ok(Connection::new(stream, peer, limit, max_age, &turns, permit))).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    let acceptor = TlsAcceptor::from(tls.get());
                    let (ready, turns) = (ready.clone(), turns.clone());
                    tokio::spawn(async move {
                        if let Some((stream, peer)) = handshake(acceptor, stream, limit).await {
                            // It fails when the server is stopping.
                            let _ = ready.send(Ok(Connection::new(stream, peer, limit, max_age, &turns, permit))).await;
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
            Some((stream, Peer::new(address, certificate)))
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

// === impl Acceptor ===

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.abort();
    }
}
