//! Files that programs lock, so that they take turns.

use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::OFlag;

use super::{Account, ServerError, io_error};

/// Who waits for longer says for whom.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than a server may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(330);
const PAUSE: Duration = Duration::from_millis(20);

/// A file that only the account can open, and so only the account can lock.
pub(super) struct LockFile {
    file: File,
    path: PathBuf,
}

// === impl LockFile ===

impl LockFile {
    /// Opens the file, and makes it the account's own. Creates it if it does not exist.
    pub(super) fn open(path: PathBuf, account: &Account) -> Result<Self, ServerError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .map_err(|error| io_error(&path, error))?;
        let is_private = |file: &File| file.metadata().map(|metadata| metadata.permissions().mode() & 0o077 == 0);
        let made_private = is_private(&file)
            .and_then(|is| if is { Ok(()) } else { file.set_permissions(Permissions::from_mode(0o600)) });
        made_private.map_err(|error| io_error(&path, error))?;
        account.own(&file, &path)?;
        Ok(Self { file, path })
    }

    /// Locks it for this program alone, and leaves the number of its process for those who wait. That only helps: on a full disk
    /// there is none.
    pub(super) fn lock(&self) -> Result<(), ServerError> {
        self.wait_for(File::try_lock)?;
        let mut file = &self.file;
        let _ = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(())
    }

    pub(super) fn lock_shared(&self) -> Result<(), ServerError> {
        self.wait_for(File::try_lock_shared)
    }

    /// Locks it for this program alone, unless others have it.
    pub(super) fn try_lock(&self) -> Result<bool, ServerError> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(io_error(&self.path, error)),
        }
    }

    pub(super) fn unlock(&self) -> Result<(), ServerError> {
        self.file.unlock().map_err(|error| io_error(&self.path, error))
    }

    fn wait_for(&self, try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<(), ServerError> {
        let start = Instant::now();
        let mut is_told = false;
        loop {
            match try_lock(&self.file) {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(io_error(&self.path, error)),
                Err(TryLockError::WouldBlock) if start.elapsed() > LIMIT => {
                    let reason = format!("{} has had the lock for {} s", self.holder(), LIMIT.as_secs());
                    return Err(io_error(&self.path, io::Error::other(reason)));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if !is_told && start.elapsed() > PATIENCE {
                is_told = true;
                tracing::warn!("{}: waiting for {}", self.path.display(), self.holder());
            }
            thread::sleep(PAUSE);
        }
    }

    /// The process that locked it last.
    fn holder(&self) -> String {
        let mut text = String::new();
        let mut file = &self.file;
        // Another process that has opened the file writes with a position of its own.
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let process = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
        process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
    }
}
