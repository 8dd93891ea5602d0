//! A port that is a test's own, whether somebody listens on it or not.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// A port of loopback, kept for as long as this lives: no other program gets it. While nobody listens, connections are
/// refused.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _kept: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let kept = socket();
        kept.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        Self { address: kept.local_addr().expect("an address"), _kept: kept }
    }

    /// Listens, until the listener is dropped.
    pub(crate) fn listen(&self) -> TcpListener {
        let socket = socket();
        socket.bind(self.address).expect("a port of our own");
        socket.listen(128).expect("a listener")
    }
}

/// Two sockets of one account may have one port where both say so.
fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.set_reuseport(true).expect("an option");
    socket
}
