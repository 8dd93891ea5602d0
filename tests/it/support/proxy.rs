//! A network between client and server that can be slow, and that breaks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

const PIECE: usize = 8 << 10;

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    pub(crate) url: String,
    connections: Arc<AtomicU32>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// It is cut when the server has sent so many bytes.
    pub(crate) cut_after: u64,
    /// A pause after each piece of what the server sends.
    pub(crate) pause: Duration,
}

impl Proxy {
    /// Passes everything on to a server; `fate` says what becomes of each connection.
    pub(crate) async fn start(server: SocketAddr, fate: impl Fn(u32) -> Fate + Send + 'static) -> Self {
        Self::between(vec![server], fate).await
    }

    /// Passes connections on to servers in turns.
    pub(crate) async fn between(servers: Vec<SocketAddr>, fate: impl Fn(u32) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let (server, fate) = (servers[number as usize % servers.len()], fate(number));
                // A server that is away is as good as a connection that is cut.
                let Ok(server) = connect(server).await else { continue };
                tokio::spawn(pass(client, server, fate));
            }
        });
        Self { url, connections }
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// By a socket that holds little, so that a slow network slows its server down, and not only its client.
async fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(32 << 10)?;
    socket.connect(server).await
}

async fn pass(client: TcpStream, server: TcpStream, fate: Fate) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut left = fate.cut_after;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let Ok(read @ 1..) = from_server.read(&mut piece[..wanted]).await else { break };
        if to_client.write_all(&piece[..read]).await.is_err() {
            break;
        }
        left -= read as u64;
        tokio::time::sleep(fate.pause).await;
    }
    // Both ways end, in the middle of whatever was on its way.
    there.abort();
}
