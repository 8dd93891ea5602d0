//! The other end of a connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustls::pki_types::CertificateDer;
use tokio::{sync::Semaphore, time::Instant};

/// Calls without credentials at once, on one connection: health of the server and of its services, and a look at the contract.
pub(super) const PUBLIC_CALLS: usize = 4;

/// The transport puts it into every request of the connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: Option<SocketAddr>,
    /// The client certificate, verified by its authority.
    pub(super) certificate: Option<Arc<CertificateDer<'static>>>,
    /// When the connection opened.
    pub(super) opened: Instant,
    /// For calls that need no credentials. A connection that takes all of them leaves those of others.
    pub(super) public_calls: Arc<Semaphore>,
    admitted: Arc<AtomicUsize>,
    is_known: Arc<AtomicBool>,
}

/// A call of the connection that was admitted and has not ended.
#[derive(Debug)]
pub(super) struct AdmittedCall(Arc<AtomicUsize>);

// === impl Peer ===

impl Peer {
    pub(super) fn new(address: Option<SocketAddr>, certificate: Option<Arc<CertificateDer<'static>>>) -> Self {
        let public_calls = Arc::new(Semaphore::new(PUBLIC_CALLS));
        Self {
            address,
            certificate,
            opened: Instant::now(),
            public_calls,
            admitted: Arc::default(),
            is_known: Arc::default(),
        }
    }

    pub(super) fn admit(&self) -> AdmittedCall {
        self.is_known.store(true, Ordering::Relaxed);
        self.admitted.fetch_add(1, Ordering::Relaxed);
        AdmittedCall(Arc::clone(&self.admitted))
    }

    /// Whether a call of the connection was ever admitted: limits of its caller count what it does.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    pub(super) fn has_admitted_calls(&self) -> bool {
        self.admitted.load(Ordering::Relaxed) > 0
    }
}

impl Drop for AdmittedCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
