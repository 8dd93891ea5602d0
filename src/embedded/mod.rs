//! A PostgreSQL of one's own, run from the server binaries that the machine has: for trying things out, for tests, and
//! for small installations. It listens on a unix socket only.

mod account;
mod binaries;
mod cluster;
mod ephemeral;

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

pub use ephemeral::EphemeralServer;

use account::Account;
use binaries::Binaries;
use cluster::Cluster;

/// Its presence marks a folder as a data directory of this program.
const START_LOCK: &str = "start.lock";

/// The private server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "no PostgreSQL server (14 or later) was found: looked for pg_ctl and initdb in PATH, where pg_config points to, \
         and in the usual folders. Install it (Debian: apt-get install postgresql; Fedora: dnf install postgresql-contrib \
         postgresql-server; macOS: brew install postgresql), or set DATABASE_URL to an existing server"
    )]
    NotInstalled,
    /// PostgreSQL refuses to run as root, and no other account is available.
    #[error("PostgreSQL cannot run as root, and this machine has no account \"postgres\" or \"nobody\" to run it as")]
    NoAccount,
    #[error(
        "{folder}: PostgreSQL cannot run as root, and the account {account}, which runs it instead, cannot enter this \
         folder. Choose another --data-dir, for instance below /var/lib"
    )]
    Unreachable { folder: String, account: String },
    /// The folder contains other files.
    #[error(
        "{0}: this folder contains other files; --data-dir must be a new or empty folder, or one that was a data \
         directory before"
    )]
    NotEmpty(String),
    #[error("{program} failed: {output}")]
    Program { program: String, output: String },
    #[error("{path}: {error}")]
    Io { path: String, error: std::io::Error },
}

/// A server that is kept under a folder and shared by all programs that use the folder: the first one starts it, and the
/// last one out stops it.
pub struct PrivateServer {
    cluster: Cluster,
    /// Locked while the server is started or stopped.
    start_lock: File,
    /// Every program holds a shared lock. The one that gets an exclusive lock is the last.
    users_lock: Option<File>,
}

// === impl PrivateServer ===

impl PrivateServer {
    /// Starts the server of a folder, or joins it if it is running. Creates the folder if it does not exist.
    ///
    /// # Errors
    ///
    /// The machine has no PostgreSQL server binaries, the folder cannot be used, or PostgreSQL does not start.
    pub fn start_or_join(data_dir: &Path) -> Result<Self, ServerError> {
        let binaries = Binaries::find()?;
        let account = Account::for_server()?;
        std::fs::create_dir_all(data_dir).map_err(|error| io_error(data_dir, error))?;
        check_is_ours(data_dir)?;
        // The server has another working directory, so the path must be absolute.
        let data_dir = data_dir.canonicalize().map_err(|error| io_error(data_dir, error))?;
        account.chown(&data_dir)?;
        account.check_access(&data_dir)?;
        let start_lock = lock_file(&data_dir.join(START_LOCK))?;
        start_lock.lock().map_err(|error| io_error(&data_dir, error))?;
        let users_lock = lock_file(&data_dir.join("users.lock"))?;
        users_lock.lock_shared().map_err(|error| io_error(&data_dir, error))?;
        let cluster = Cluster::new(binaries, account, &data_dir, true)?;
        cluster.create()?;
        if !cluster.is_running()? {
            cluster.start()?;
        }
        start_lock.unlock().map_err(|error| io_error(&data_dir, error))?;
        Ok(Self { cluster, start_lock, users_lock: Some(users_lock) })
    }

    pub fn database_url(&self) -> String {
        self.cluster.database_url("postgres")
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        let Some(users_lock) = self.users_lock.take() else { return };
        if self.start_lock.lock().is_err() || users_lock.unlock().is_err() {
            return;
        }
        match users_lock.try_lock() {
            Ok(()) => {
                if let Err(error) = self.cluster.stop("fast") {
                    tracing::warn!(%error, "the private PostgreSQL could not be stopped");
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => tracing::warn!(%error, "users.lock"),
        }
    }
}

/// The default folder of the private server.
pub fn default_data_dir() -> PathBuf {
    let name = env!("CARGO_PKG_NAME");
    if Account::is_root() {
        // The account that runs PostgreSQL cannot enter root's home.
        return Path::new("/var/lib").join(name);
    }
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from(format!(".{name}")), |base| base.join(name))
}

/// The folder will belong to the account that runs PostgreSQL, so it must not contain anything else.
fn check_is_ours(data_dir: &Path) -> Result<(), ServerError> {
    let mut entries = data_dir.read_dir().map_err(|error| io_error(data_dir, error))?;
    // In this order, since another process may start to use an empty folder in between.
    if entries.next().is_none() || data_dir.join(START_LOCK).exists() {
        return Ok(());
    }
    Err(ServerError::NotEmpty(data_dir.display().to_string()))
}

fn lock_file(path: &Path) -> Result<File, ServerError> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: std::io::Error) -> ServerError {
    ServerError::Io { path: path.display().to_string(), error }
}
