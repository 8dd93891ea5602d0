//! Logs that nobody reads, that cannot be written, and that callers would fill.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use secure_connect_reports::{
    client::{ClientConfig, is_serving},
    contract::proto::{ListTenantsRequest, reports_service_client::ReportsServiceClient},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tonic::{Code, transport::Channel};

use crate::support::{Database, calls::reason, program, serving::Serving};

/// Whoever has no token gets lines, and not all there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_strangers_do_not_fill_the_audit_log() {
    let database = Database::with_catalog().await;
    let key = crate::support::issuer::Signer::new(jsonwebtoken::Algorithm::EdDSA, "ed");
    let issuer = crate::support::issuer::Issuer::start(&[&key]).await;
    let serving = Serving::start(&database, &issuer, |_| {});
    let mut stub = ReportsServiceClient::new(serving.channel().await);
    let began = Instant::now();
    for _ in 0..1200 {
        let status = stub.list_tenants(ListTenantsRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let took = began.elapsed();
    // The next interval tells how many there were.
    tokio::time::sleep(Duration::from_secs(11).saturating_sub(took)).await;
    stub.list_tenants(ListTenantsRequest::default()).await.unwrap_err();
    // With a token there is a line as ever.
    let claims = issuer.claims(&["*"]);
    let token = format!("Bearer {}", key.sign(&claims));
    stub.list_tenants(crate::support::calls::request(ListTenantsRequest::default(), &[&token])).await.unwrap();
    let is_last = |lines: &[Value]| lines.last().is_some_and(|line| line["code"] == "OK");
    let mut lines = serving.calls(1).await;
    while !is_last(&lines) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        lines = serving.calls(1).await;
    }
    let more: Vec<u64> = lines.iter().filter_map(|line| line["calls"].as_u64()).collect();
    let strangers = lines.iter().filter(|line| line["code"] == "UNAUTHENTICATED").count() as u64;
    assert_eq!(strangers + more.iter().sum::<u64>(), 1201, "every call has a line, or is counted");
    // Where they did not all come in one interval, they may all have lines.
    if took < Duration::from_secs(9) {
        assert_eq!((strangers, more.as_slice()), (1001, [200].as_slice()));
    }
}

/// `serve`, whose log is read up to its address and no further.
struct Unread {
    child: Child,
    log: BufReader<ChildStderr>,
    url: String,
}

impl Unread {
    fn start(database: &Database, options: &[&str]) -> Self {
        let mut command = program();
        command.env("DATABASE_URL", &database.url).stderr(Stdio::piped());
        command.args(["serve", "--insecure-no-auth", "--listen", "127.0.0.1:0", "--log-format", "json"]).args(options);
        let mut child = command.spawn().expect("the program");
        let mut log = BufReader::with_capacity(1 << 10, child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(log.read_line(&mut line).expect("a line") > 0, "it has ended");
        }
        let (_, address) = line.split_once("listening on ").unwrap();
        let url = format!("http://{}", address.split('"').next().unwrap());
        Self { child, log, url }
    }

    async fn stub(&self) -> ReportsServiceClient<Channel> {
        ReportsServiceClient::new(Channel::from_shared(self.url.clone()).unwrap().connect().await.expect("a server"))
    }

    /// Asks it to stop, and waits until it has.
    async fn stop(&mut self) {
        signal::kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).expect("it is our own");
        let began = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(began.elapsed() < Duration::from_secs(15), "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn audit_lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "audit").collect()
}

/// A pipe holds some 200 lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_neither_calls_nor_the_end() {
    const CALLS: usize = 1000;
    let database = Database::with_catalog().await;
    let mut serving = Unread::start(&database, &[]);
    let mut stub = serving.stub().await;
    for _ in 0..CALLS {
        stub.list_tenants(ListTenantsRequest::default()).await.expect("an answer");
    }
    assert!(is_serving(&ClientConfig::new(&serving.url)).await.expect("an answer"));
    // Whoever begins to read gets every line.
    let mut log = String::new();
    while audit_lines(&log).len() < CALLS {
        assert!(serving.log.read_line(&mut log).expect("a line") > 0, "it has ended");
    }
    for _ in 0..CALLS {
        stub.list_tenants(ListTenantsRequest::default()).await.expect("an answer");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_may_have_a_file() {
    let database = Database::with_catalog().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut serving = Unread::start(&database, &["--audit-log", path.to_str().unwrap()]);
    let mut stub = serving.stub().await;
    stub.list_tenants(ListTenantsRequest::default()).await.expect("an answer");
    stub.list_tenants(ListTenantsRequest { page_size: -1, ..Default::default() }).await.expect_err("a wrong size");
    serving.stop().await;
    let lines = audit_lines(&std::fs::read_to_string(&path).unwrap());
    let of = |line: &Value| (line["rpc"].clone(), line["code"].clone(), line["rows"].clone());
    let expected = [("OK", 3), ("INVALID_ARGUMENT", 0)]
        .map(|(code, rows)| ("ReportsService/ListTenants".into(), code.into(), rows.into()));
    assert_eq!(lines.iter().map(of).collect::<Vec<_>>(), expected);
    let mut log = String::new();
    serving.log.read_to_string(&mut log).unwrap();
    assert!(log.contains("stopped") && audit_lines(&log).is_empty(), "{log}");
}

#[test]
fn an_audit_log_that_cannot_be_written_is_named_at_the_start() {
    let options = ["serve", "--insecure-no-auth", "--listen", "127.0.0.1:0", "--audit-log", "/nowhere/audit.log"];
    let output = program().env("DATABASE_URL", "postgresql://127.0.0.1:1/x").args(options).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "error: --audit-log \"/nowhere/audit.log\": No such file or directory (os error 2)\n");
}

/// The disk is full from the first line on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_refused_where_each_must_have_its_line() {
    let database = Database::with_catalog().await;
    let options = ["--audit-log", "/dev/full", "--audit-log-when-full", "refuse"];
    let mut serving = Unread::start(&database, &options);
    let mut stub = serving.stub().await;
    let mut taken = 0;
    let refused = loop {
        // Refused by its handler at once.
        match stub.list_tenants(ListTenantsRequest { page_size: -1, ..Default::default() }).await {
            Err(status) if status.code() == Code::InvalidArgument => taken += 1,
            answer => break answer.expect_err("no room for a line"),
        }
    };
    assert_eq!(reason(&refused), (Code::Unavailable, "AUDIT_LOG_UNAVAILABLE".to_owned()));
    assert_eq!(taken, 8192);
    assert!(is_serving(&ClientConfig::new(&serving.url)).await.expect("an answer"));
    serving.stop().await;
    let mut log = String::new();
    serving.log.read_to_string(&mut log).unwrap();
    assert!(log.contains("cannot write to the audit log") && log.contains("/dev/full"), "{log}");
}

/// The transport warns of each answer to a ping that was never sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_can_make_a_library_say_is_not_logged() {
    let database = Database::with_catalog().await;
    let serving = Serving::open(program().env("DATABASE_URL", &database.url));
    let address = serving.url.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.unwrap();
    // The preface of HTTP/2 and empty settings, then answers to pings.
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let answers = b"\0\0\x08\x06\x01\0\0\0\0whatever".repeat(20_000);
    // The server may end the connection meanwhile.
    let _ = connection.write_all(&answers).await;
    let mut stub = ReportsServiceClient::new(serving.channel().await);
    stub.list_tenants(ListTenantsRequest::default()).await.expect("an answer");
    let log = serving.everything();
    assert!(log.lines().count() < 20, "{log}");
}
