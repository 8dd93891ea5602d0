//! Whoever calls without a token, and whatever they send: memory stays within its bound, and others are served.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secure_connect_reports::{
    auth::AuthConfig,
    client::{ClientConfig, is_serving},
    service::{ConnectionLimits, ServerConfig},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tonic::{Code, Status};

use crate::support::{Database, Server, calls::reason, program, rounds, serving::Serving};

const CONNECTIONS: usize = 1000;
/// What the page on operations says.
const MAX_PEAK_MIB: u64 = 256;

const CHECK: &str = "grpc.health.v1.Health/Check";
const WATCH: &str = "grpc.health.v1.Health/Watch";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const TENANTS: &str = "secureconnect.reports.v1.ReportsService/ListTenants";
const IMPORT: &str = "secureconnect.reports.v1.UsageImportService/ImportUsage";

/// What a connection does with each of its streams.
#[derive(Clone, Copy, Debug)]
struct Flood {
    path: &'static str,
    streams: usize,
    /// Fields `a` without a value. HTTP/2 compresses each to a byte or two; a server keeps them as 33 bytes and more.
    fields: usize,
    /// Sent of a message that never ends.
    body: usize,
    /// Whether the body is a whole message.
    is_whole: bool,
    /// What the client takes of each answer before it reads, which it never does.
    window: u32,
}

const NOTHING: Flood = Flood { path: CHECK, streams: 100, fields: 0, body: 0, is_whole: false, window: 65_535 };

const FLOODS: [Flood; 12] = [
    Flood { fields: 1850, streams: 15, ..NOTHING },
    Flood { body: 60 << 10, ..NOTHING },
    Flood { is_whole: true, window: 0, ..NOTHING },
    Flood { path: WATCH, is_whole: true, ..NOTHING },
    Flood { path: REFLECTION, body: 4 << 10, ..NOTHING },
    Flood { path: REFLECTION, is_whole: true, window: 1, ..NOTHING },
    Flood { path: TENANTS, fields: 1850, streams: 15, ..NOTHING },
    Flood { path: TENANTS, ..NOTHING },
    Flood { path: TENANTS, is_whole: true, window: 0, ..NOTHING },
    Flood { path: IMPORT, body: 60 << 10, ..NOTHING },
    Flood { path: "no.such.Service/Method", body: 1 << 10, ..NOTHING },
    Flood { path: IMPORT, fields: 200, body: 100, ..NOTHING },
];

/// A connection of a flood. It stays for as long as this is there.
struct Flooding {
    _requests: SendRequest<Bytes>,
    streams: Vec<(ResponseFuture, h2::SendStream<Bytes>)>,
}

fn request(flood: &Flood) -> Request<()> {
    let mut request = Request::post(format!("http://localhost/{}", flood.path))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for _ in 0..flood.fields {
        request = request.header("a", "");
    }
    request.body(()).expect("a request")
}

async fn flood(server: String, flood: Flood) -> Option<Flooding> {
    let stream = TcpStream::connect(server).await.ok()?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(flood.window);
    let (mut requests, connection) = builder.handshake(stream).await.ok()?;
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..flood.streams {
        // The server allows so many at once, and may have closed the connection.
        let ready = tokio::time::timeout(Duration::from_millis(500), requests.clone().ready()).await;
        let Ok(Ok(ready)) = ready else { break };
        requests = ready;
        let Ok((response, mut stream)) = requests.send_request(request(&flood), false) else { break };
        let mut body = vec![0; 5];
        if flood.body > 0 {
            body[4] = 0xff;
            body[2] = 0x10;
            body.resize(flood.body, b'x');
        }
        if flood.body > 0 || flood.is_whole {
            let _ = stream.send_data(body.into(), flood.is_whole && flood.path != REFLECTION);
        }
        streams.push((response, stream));
    }
    Some(Flooding { _requests: requests, streams })
}

fn peak_mib(serving: &Serving) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// A mix of all floods; and, in more rounds, each alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_has_its_bound_whatever_strangers_send() {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).expect("file descriptors");
    let database = Database::with_catalog().await;
    for round in 0..usize::try_from(rounds(1)).unwrap().min(1 + FLOODS.len()) {
        let serving = Serving::open_with(program().env("DATABASE_URL", &database.url), &["--max-connections", "1010"]);
        let health = ClientConfig::new(&serving.url);
        while !is_serving(&health).await.expect("an answer") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let address = serving.url.trim_start_matches("http://").to_owned();
        let floods = (0..CONNECTIONS).map(|n| FLOODS[round.checked_sub(1).unwrap_or(n % FLOODS.len())]);
        let begun: JoinSet<_> = floods.map(|kind| flood(address.clone(), kind)).collect();
        let flooding = begun.join_all().await;
        assert_eq!(flooding.iter().flatten().count(), CONNECTIONS, "round {round}");
        let streams = flooding.iter().flatten().map(|flooding| flooding.streams.len()).sum::<usize>();
        assert!(streams >= CONNECTIONS * 10, "round {round}: {streams} streams");
        // They wait for their turn behind all that floods; this machine also makes the flood.
        let began = Instant::now();
        while !is_serving(&health).await.unwrap_or(false) {
            assert!(began.elapsed() < Duration::from_secs(30), "round {round}: others are not served");
        }
        let peak = peak_mib(&serving);
        eprintln!("round {round}: {streams} streams, {peak} MiB");
        assert!(peak <= MAX_PEAK_MIB, "round {round}: {peak} MiB");
    }
}

fn health(path: &str) -> Flood {
    let path = if path == "Watch" { WATCH } else { CHECK };
    Flood { path, is_whole: path == WATCH, ..NOTHING }
}

/// A call without credentials on a connection, to its end.
async fn call(requests: &mut SendRequest<Bytes>, request: Request<()>, body: Vec<u8>, ends: bool) -> Status {
    *requests = requests.clone().ready().await.expect("room for a call");
    let (response, mut stream) = requests.send_request(request, false).expect("a call");
    stream.send_data(body.into(), ends).expect("a body");
    let (head, mut body) = response.await.expect("an answer").into_parts();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.expect("trailers").unwrap_or(head.headers);
    Status::from_header_map(&trailers).expect("a status")
}

async fn connect(server: &Server) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    (requests, tokio::spawn(connection))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_takes_small_messages_and_few_calls_of_a_connection() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let (mut requests, _connection) = connect(&server).await;
    // The name of a service, of so many bytes.
    let message = |bytes: u16| {
        let [high, low] = (bytes + 3).to_be_bytes();
        let [varint_low, varint_high] = [(bytes & 0x7f) as u8 | 0x80, (bytes >> 7) as u8];
        [&[0, 0, 0, high, low, 0x0a, varint_low, varint_high][..], &vec![b'x'; bytes.into()]].concat()
    };
    let status = call(&mut requests, request(&health("Check")), message(1021), true).await;
    assert_eq!(status.code(), Code::NotFound, "there is no such service: {status:?}");
    let status = call(&mut requests, request(&health("Check")), message(1022), true).await;
    assert_eq!(reason(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));

    let mut watches = Vec::new();
    for _ in 0..4 {
        requests = requests.ready().await.unwrap();
        let (response, mut stream) = requests.send_request(request(&health("Watch")), false).unwrap();
        stream.send_data(vec![0; 5].into(), true).unwrap();
        watches.push(response.await.unwrap());
    }
    let status = call(&mut requests, request(&health("Check")), vec![0; 5], true).await;
    assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()));
    let (mut others, _connection) = connect(&server).await;
    assert_eq!(call(&mut others, request(&health("Check")), vec![0; 5], true).await.code(), Code::Ok);
    drop(watches);
    while call(&mut requests, request(&health("Check")), vec![0; 5], true).await.code() != Code::Ok {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Neither a watch, which has no end, nor a request that never comes, nor a peer that does not answer holds a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_a_stranger_ends_at_its_age() {
    let database = Database::with_catalog().await;
    let connections = ConnectionLimits { age: Some(Duration::from_millis(500)), ..ConnectionLimits::default() };
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let server = Server::start(ServerConfig { connections, ..ServerConfig::new(database.config(), auth) });

    let (mut requests, watching) = connect(&server).await;
    let status = call(&mut requests, request(&health("Watch")), vec![0; 5], true).await;
    assert_eq!(reason(&status), (Code::Unavailable, "CONNECTION_TOO_OLD".to_owned()));
    let (mut requests, beginning) = connect(&server).await;
    let status = call(&mut requests, request(&health("Check")), vec![0; 2], false).await;
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "REQUEST_STALLED".to_owned()));

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // The preface of HTTP/2, and empty settings.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let ends = async {
        let (watching, beginning, silent) = tokio::join!(watching, beginning, silent.read_to_end(&mut rest));
        drop((watching.unwrap(), beginning.unwrap(), silent));
    };
    // Well before the server would miss its pings.
    tokio::time::timeout(Duration::from_secs(20), ends).await.expect("all connections end");
    assert_eq!(server.metric("scr_connections").await, 0.0);
}
