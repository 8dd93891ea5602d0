//! `serve` as a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use tonic::transport::Channel;

use super::{
    Database,
    issuer::{AUDIENCE, Issuer},
    program,
};

/// `serve` as a process of its own, with everything that it writes.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    /// For callers with tokens of an issuer.
    pub(crate) fn start(database: &Database, issuer: &Issuer, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--audience", AUDIENCE])
            .args(["--oidc-issuer", &issuer.url()])
            .env("DATABASE_URL", &database.url);
        configure(&mut command);
        Self::spawn(&mut command)
    }

    /// For everyone.
    pub(crate) fn open(command: &mut Command) -> Self {
        Self::open_with(command, &[])
    }

    /// The same with more options.
    pub(crate) fn open_with(command: &mut Command, options: &[&str]) -> Self {
        Self::spawn(command.args(["serve", "--insecure-no-auth", "--listen", "127.0.0.1:0"]).args(options))
    }

    /// A command that runs `serve`, and listens where it likes.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (tell, told) = std::sync::mpsc::channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on ") {
                    let address = address.split('"').next().unwrap_or_default().to_owned();
                    let _ = tell.send(address);
                }
                kept.lock().unwrap().push(line);
            }
        });
        let address = told.recv_timeout(Duration::from_secs(30)).expect("a server that starts");
        Self { child, url: format!("http://{address}"), log }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process"));
        signal::kill(pid, signal).expect("it is our own");
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    /// The audit lines, as soon as there are so many.
    pub(crate) async fn calls(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let lines = self.log.lock().unwrap().clone();
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let calls: Vec<Value> = lines.filter(|line| line["target"] == "audit").collect();
            if calls.len() >= count {
                return calls;
            }
            assert!(Instant::now() < deadline, "{count} calls, and {calls:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn everything(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
