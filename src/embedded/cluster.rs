//! A database cluster: its folder, its socket, and the programs that work on it.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::OFlag;

use super::{
    Account, Binaries, ServerError, io_error,
    postmaster::{self, State},
};

/// The longest path of a unix socket on all systems, minus the name of PostgreSQL's socket.
const MAX_SOCKET_FOLDER_BYTES: usize = 80;
/// Of the socket, which has no other use here.
const PORT: u16 = 5432;
/// How long a server may take to start, also after a crash, or to stop.
const START_LIMIT: Duration = Duration::from_secs(300);
/// How long a server may be unknown to the system and not listen, before its file counts as left behind.
const DOUBT_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(super) struct Cluster {
    binaries: Binaries,
    account: Account,
    /// PostgreSQL's data directory.
    folder: PathBuf,
    socket_folder: PathBuf,
    log: PathBuf,
    durable: bool,
    settings: Vec<(String, String)>,
}

// === impl Cluster ===

impl Cluster {
    /// The cluster in a folder that the account owns. If it is not durable, a crash may lose everything.
    pub(super) fn new(binaries: Binaries, account: Account, home: &Path, durable: bool) -> Result<Self, ServerError> {
        let socket_folder = socket_folder(home, &account)?;
        Ok(Self {
            binaries,
            account,
            folder: home.join("cluster"),
            socket_folder,
            log: home.join("postgresql.log"),
            durable,
            settings: Vec::new(),
        })
    }

    /// Adds settings for the start of the server.
    pub(super) fn set(&mut self, settings: &[(&str, &str)]) {
        self.settings.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }

    /// Puts a file into the data directory, readable by the account only. It is there after [`Self::create`].
    pub(super) fn put(&self, name: &str, content: &[u8]) -> Result<(), ServerError> {
        let path = self.folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(&path);
        let written = file.and_then(|mut file| file.write_all(content).map(|()| file));
        let file = written.map_err(|error| io_error(&path, error))?;
        self.account.own(&file, &path)
    }

    /// Creates the cluster if it does not exist.
    pub(super) fn create(&self) -> Result<(), ServerError> {
        if self.folder.exists() {
            return Ok(());
        }
        // Renamed when it is complete, so that an interrupted start leaves no partial cluster.
        let unfinished = self.folder.with_extension("new");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(|error| io_error(&unfinished, error))?;
        }
        let mut initdb = self.account.command(&self.binaries.program("initdb"));
        initdb.arg("--pgdata").arg(&unfinished).args([
            "--username=postgres",
            // Only the owner of the folder can reach the socket.
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        if !self.durable {
            initdb.arg("--no-sync");
        }
        run("initdb", &mut initdb)?;
        std::fs::rename(&unfinished, &self.folder).map_err(|error| io_error(&unfinished, error))
    }

    /// Creates the cluster as a standby of another one, which must be running.
    pub(super) fn create_standby_of(&self, primary: &Self) -> Result<(), ServerError> {
        let mut backup = self.account.command(&self.binaries.program("pg_basebackup"));
        backup.arg("--pgdata").arg(&self.folder).args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        backup.arg("--dbname").arg(primary.database_url("postgres"));
        run("pg_basebackup", &mut backup)
    }

    pub(super) fn promote(&self) -> Result<(), ServerError> {
        run("pg_ctl promote", self.pg_ctl("promote").arg("-w"))
    }

    pub(super) fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// Starts the server unless it runs, and waits until it takes connections. Clears away what a crash has left behind.
    /// Returns whether it was started.
    pub(super) fn start_unless_running(&self) -> Result<bool, ServerError> {
        let begin = Instant::now();
        loop {
            match self.state() {
                State::Ready => return Ok(false),
                State::Stopped => return self.start().map(|()| true),
                State::Doubtful if begin.elapsed() < DOUBT_LIMIT => {}
                // PostgreSQL would take the process for a server, and not start.
                State::Stale | State::Doubtful => {
                    tracing::warn!("{}: postmaster.pid is of a server that crashed", self.folder.display());
                    postmaster::remove_pid_file(&self.folder).map_err(|error| io_error(&self.folder, error))?;
                }
                State::Busy if begin.elapsed() < START_LIMIT => {}
                State::Busy => return Err(ServerError::Busy { log: self.log.display().to_string() }),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Whether the server takes connections, or will.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state(), State::Ready | State::Busy)
    }

    /// Whether its process has ended.
    pub(super) fn is_gone(&self) -> bool {
        postmaster::is_gone(&self.folder)
    }

    fn state(&self) -> State {
        postmaster::state(&self.folder, &self.socket_folder.join(format!(".s.PGSQL.{PORT}")))
    }

    pub(super) fn start(&self) -> Result<(), ServerError> {
        let mut options = format!(
            "-c listen_addresses= -c port={PORT} -c unix_socket_directories={} -c log_min_messages=warning",
            shell_quoted(&self.socket_folder)
        );
        // Sized for a small machine and large imports.
        options.push_str(" -c shared_buffers=256MB -c max_wal_size=4GB -c max_connections=200");
        if !self.durable {
            options.push_str(" -c fsync=off -c synchronous_commit=off -c full_page_writes=off");
        }
        for (name, value) in &self.settings {
            options.push_str(&format!(" -c {name}={}", shell_quoted(Path::new(value))));
        }
        let mut start = self.pg_ctl("start");
        start
            .arg("-w")
            .arg(format!("--timeout={}", START_LIMIT.as_secs()))
            .arg("-l")
            .arg(&self.log)
            .arg("-o")
            .arg(options);
        run("pg_ctl start", &mut start).map_err(|error| match error {
            ServerError::Program { program, output } => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                ServerError::Program { program, output: format!("{output}\n{}", last.join("\n")) }
            }
            other => other,
        })
    }

    /// Stops the server. One that is not running has no process to signal: whatever has its number is something else.
    pub(super) fn stop(&self) -> Result<(), ServerError> {
        // Connections that this program has just given up are still being closed. Others are not waited for for long.
        let gently = || run("pg_ctl stop", self.pg_ctl("stop").args(["-w", "-m", "smart", "-t", "1"]));
        if !self.is_running() || !postmaster::may_be_signalled(&self.folder) || gently().is_ok() {
            return Ok(());
        }
        run("pg_ctl stop", self.pg_ctl("stop").args(["-w", "-m", "fast"]))
    }

    /// Stops the server at once, like a crash.
    pub(super) fn crash(&self) -> Result<(), ServerError> {
        run("pg_ctl stop", self.pg_ctl("stop").args(["-w", "-m", "immediate"]))
    }

    /// A shell, and a script for it that stops the server at once.
    pub(super) fn stop_command(&self) -> (Command, String) {
        let shell = self.account.command(Path::new("/bin/sh"));
        let script = format!(
            "{} stop -s -m immediate -D {}; rm -rf {}",
            shell_quoted(&self.binaries.program("pg_ctl")),
            shell_quoted(&self.folder),
            shell_quoted(&self.socket_folder),
        );
        (shell, script)
    }

    pub(super) fn database_url(&self, database: &str) -> String {
        let folder = self.socket_folder.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
        format!("host='{folder}' user=postgres dbname={database}")
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = self.account.command(&self.binaries.program("pg_ctl"));
        command.arg(action).arg("-D").arg(&self.folder);
        command
    }
}

/// The folder of the socket. Only the account can enter it, and its path is short enough for a socket.
fn socket_folder(home: &Path, account: &Account) -> Result<PathBuf, ServerError> {
    let inside = home.join("socket");
    let folder = if inside.as_os_str().len() <= MAX_SOCKET_FOLDER_BYTES {
        inside
    } else {
        let mut hasher = DefaultHasher::new();
        home.hash(&mut hasher);
        PathBuf::from(format!("/tmp/secure-connect-reports-{:016x}", hasher.finish()))
    };
    let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    match made {
        Ok(()) => account.chown(&folder)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            // In `/tmp`, another account may have created the folder first.
            let metadata = folder.symlink_metadata().map_err(|error| io_error(&folder, error))?;
            let home = home.metadata().map_err(|error| io_error(home, error))?;
            if !metadata.is_dir() || metadata.uid() != home.uid() || metadata.mode() & 0o077 != 0 {
                let reason = std::io::Error::other("is not a private folder of the account that runs PostgreSQL");
                return Err(io_error(&folder, reason));
            }
        }
        Err(error) => return Err(io_error(&folder, error)),
    }
    Ok(folder)
}

pub(super) fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn run(name: &str, command: &mut Command) -> Result<(), ServerError> {
    // The server inherits these, so they must be files: a pipe would be read until the server ends.
    let mut output = tempfile::tempfile().map_err(|error| io_error(Path::new(name), error))?;
    let clone = || output.try_clone().map_err(|error| io_error(Path::new(name), error));
    let status = command.stdout(clone()?).stderr(clone()?).status();
    let status = status.map_err(|error| io_error(Path::new(command.get_program()), error))?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    // The output only helps, so failing to read it is ignored.
    let _ = std::io::Seek::rewind(&mut output).and_then(|()| std::io::Read::read_to_string(&mut output, &mut text));
    Err(ServerError::Program { program: name.to_owned(), output: text.trim().to_owned() })
}
