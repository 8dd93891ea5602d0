//! A network between client and server that can be slow, and that breaks.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

use super::port::Port;

const PIECE: usize = 8 << 10;

/// A proxy on a port of its own. It ends with the test.
pub(crate) struct Proxy {
    pub(crate) url: String,
    port: Port,
    state: Arc<State>,
    /// What listens, and its connections.
    open: JoinSet<()>,
}

struct State {
    /// Connections are passed on to these in turns.
    servers: Mutex<Vec<SocketAddr>>,
    fate: Box<dyn Fn(u32) -> Fate + Send + Sync>,
    connections: AtomicU32,
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
    pub(crate) async fn start(server: SocketAddr, fate: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Self {
        Self::between(vec![server], fate).await
    }

    /// Passes connections on to servers in turns.
    pub(crate) async fn between(servers: Vec<SocketAddr>, fate: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Self {
        let mut proxy = Self::closed(fate);
        proxy.lead_to(servers);
        proxy
    }

    /// Refuses connections until it [leads](Self::lead_to) somewhere.
    pub(crate) fn closed(fate: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Self {
        let port = Port::reserve();
        let state = State { servers: Mutex::default(), fate: Box::new(fate), connections: AtomicU32::new(0) };
        Self { url: format!("http://{}", port.address), port, state: Arc::new(state), open: JoinSet::new() }
    }

    /// Takes connections, from now on to these servers.
    pub(crate) fn lead_to(&mut self, servers: Vec<SocketAddr>) {
        *self.state.servers.lock().unwrap() = servers;
        if self.open.is_empty() {
            self.open.spawn(listen(self.port.listen(), Arc::clone(&self.state)));
        }
    }

    /// Cuts all connections, and refuses new ones.
    pub(crate) async fn close(&mut self) {
        self.open.shutdown().await;
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::Relaxed)
    }
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = state.connections.fetch_add(1, Ordering::Relaxed);
        let fate = (state.fate)(number);
        let server = {
            let servers = state.servers.lock().unwrap();
            servers[number as usize % servers.len()]
        };
        // A server that is away is as good as a connection that is cut.
        connections.spawn(async move {
            if let Ok(server) = connect(server).await {
                pass(client, server, fate).await;
            }
        });
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
