//! The other end of a connection.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::CertificateDer;

/// The transport puts it into every request of the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) address: Option<SocketAddr>,
    /// The client certificate, verified by its authority.
    pub(super) certificate: Option<Arc<CertificateDer<'static>>>,
}
