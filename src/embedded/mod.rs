//! A PostgreSQL of one's own, run from the server binaries that the machine has: for trying things out, for tests, and
//! for small installations. It listens on a unix socket only.

mod account;
mod binaries;
mod cluster;
mod ephemeral;
mod keeper;
mod lock;
mod postmaster;

use std::path::{Path, PathBuf};

pub use ephemeral::EphemeralServer;
pub use keeper::Keeper;

use account::Account;
use binaries::Binaries;
use cluster::Cluster;
use lock::LockFile;

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
    /// Something is wrong with it, or with the disk.
    #[error("PostgreSQL has been starting or stopping for 5 minutes; {log} may say why")]
    Busy {
        /// Its log file.
        log: String,
    },
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
    start_lock: LockFile,
    /// Every program holds a shared lock. The one that gets an exclusive lock is the last.
    users_lock: LockFile,
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
        let start_lock = LockFile::open(data_dir.join(START_LOCK), &account)?;
        start_lock.lock()?;
        let users_lock = LockFile::open(data_dir.join("users.lock"), &account)?;
        users_lock.lock_shared()?;
        let cluster = Cluster::new(binaries, account, &data_dir, true)?;
        cluster.create()?;
        cluster.start_unless_running()?;
        start_lock.unlock()?;
        Ok(Self { cluster, start_lock, users_lock })
    }

    /// Starts the server again if it has gone, as after a crash. Returns whether it had.
    ///
    /// # Errors
    ///
    /// It does not start yet: other processes of it may have to end first.
    pub fn restart_if_gone(&self) -> Result<bool, ServerError> {
        if !self.cluster.is_gone() {
            return Ok(false);
        }
        self.start_lock.lock()?;
        let started = self.cluster.start_unless_running();
        self.start_lock.unlock()?;
        started
    }

    pub fn database_url(&self) -> String {
        self.cluster.database_url("postgres")
    }

    fn leave(&self) -> Result<(), ServerError> {
        self.start_lock.lock()?;
        self.users_lock.unlock()?;
        if self.users_lock.try_lock()? { self.cluster.stop() } else { Ok(()) }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!(%error, "the private PostgreSQL could not be stopped");
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

fn io_error(path: &Path, error: std::io::Error) -> ServerError {
    ServerError::Io { path: path.display().to_string(), error }
}
