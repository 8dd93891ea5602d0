//! A real PgBouncer before the tests' PostgreSQL. It listens on a unix socket only, and ends with its value.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use tempfile::TempDir;

use super::Database;

/// The name of the socket has it; nothing listens there.
const PORT: u16 = 6432;

pub(crate) struct Pooler {
    process: Child,
    folder: TempDir,
}

impl Pooler {
    /// Before the server of a database, in one of PgBouncer's pool modes, with more settings of it.
    pub(crate) fn start(database: &Database, pool_mode: &str, more: &str) -> Self {
        let server = database.url.split_whitespace().find_map(|part| part.strip_prefix("host=")).expect("a socket");
        let server = server.trim_matches('\'');
        // In /tmp, since a socket's path must be short.
        let folder = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .expect("a folder");
        let configuration = folder.path().join("pgbouncer.ini");
        let path = folder.path().display();
        let content = format!(
            "[databases]\n* = host={server} port=5432 user=postgres\n[pgbouncer]\npool_mode = {pool_mode}\n\
             unix_socket_dir = {path}\nlisten_port = {PORT}\nauth_type = any\nquery_wait_timeout = 5\n{more}\n"
        );
        std::fs::write(&configuration, content).unwrap();
        let mut command = Command::new(program());
        command.arg("-q").arg(&configuration).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if geteuid().is_root() {
            // It refuses to run as root, and only one account can enter the server's folder.
            let names = ["postgres", "nobody"];
            let user = names.iter().find_map(|name| User::from_name(name).unwrap()).expect("an account");
            nix::unistd::chown(folder.path(), Some(user.uid), Some(user.gid)).unwrap();
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let process = command.spawn().expect("pgbouncer runs");
        let socket = folder.path().join(format!(".s.PGSQL.{PORT}"));
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, folder }
    }

    /// The same database, by way of it.
    pub(crate) fn url(&self, database: &Database) -> String {
        let rest = database.url.split_whitespace().filter(|part| !part.starts_with("host="));
        let rest: Vec<&str> = rest.collect();
        format!("host={} port={PORT} {}", self.folder.path().display(), rest.join(" "))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// Distributions put it where the PATH of most accounts does not look.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let found = folders.map(|folder| folder.join("pgbouncer")).find(|program| Path::is_file(program));
    found.expect("pgbouncer is there: `make tools` installs it")
}
