//! A file that is being downloaded: `NAME.part`, next to `NAME.part.json`, which says how far it is. It gets its own name
//! when it is whole; until then another process can go on with it.

use std::{
    ffi::OsString,
    fs::{File, Metadata, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use serde::{Deserialize, Serialize};

use super::{CommandError, background::Checkpointed, synced::Output};
use crate::client::Checkpoint;

const PART: &str = ".part";
const STATE: &str = ".part.json";
const NEW_STATE: &str = ".part.json.new";
/// More than the sums of any report take.
const MAX_STATE_BYTES: u64 = 16 << 20;
/// The longest file name whose temporary names fit into the 255 bytes that file systems allow.
pub(super) const MAX_NAME_BYTES: usize = 255 - NEW_STATE.len();

/// The file under its temporary name. No other process writes to it meanwhile.
pub(super) struct PartialFile {
    target: PathBuf,
    file: File,
    bytes: u64,
    crc: crc32fast::Hasher,
}

/// The state of a download in `NAME.part.json`.
#[derive(Serialize, Deserialize)]
struct State {
    /// The length of the file at the checkpoint. Bytes after it are ignored.
    bytes: u64,
    /// The checksum of these bytes.
    crc32: u32,
    download: Checkpoint,
}

/// What an earlier download has left.
pub(super) enum Earlier {
    Nothing,
    /// The file, truncated to its checkpoint.
    Stopped(Box<(PartialFile, Checkpoint)>),
    /// It is not as it was left, for this reason.
    Damaged(String),
}

// === impl PartialFile ===

impl PartialFile {
    /// An empty file of our own. Replaces what an earlier download has left.
    pub(super) fn create(target: &Path) -> Result<Self, CommandError> {
        let path = with_suffix(target, PART);
        // Held until there is a new one, so that no other download begins meanwhile.
        let earlier = open(&path, false)?;
        remove(&with_suffix(target, STATE))?;
        let file = create(&path).map_err(|error| format!("{}: {error}", target.display()))?;
        lock(&file, &path)?;
        drop(earlier);
        sync_folder(target)?;
        Ok(Self { target: target.to_owned(), file, bytes: 0, crc: crc32fast::Hasher::new() })
    }

    /// Opens what an earlier download has left.
    pub(super) fn reopen(target: &Path) -> Result<Earlier, CommandError> {
        let state = match read_state(&with_suffix(target, STATE))? {
            None => return Ok(Earlier::Nothing),
            Some(Err(damage)) => return Ok(Earlier::Damaged(damage)),
            Some(Ok(state)) => state,
        };
        let Some(mut file) = open(&with_suffix(target, PART), true)? else {
            // The file was completed or removed.
            remove(&with_suffix(target, STATE))?;
            return Ok(Earlier::Nothing);
        };
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        while bytes < state.bytes {
            let wanted = usize::try_from(state.bytes - bytes).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(&mut buffer[..wanted])?;
            if read == 0 {
                break;
            }
            crc.update(&buffer[..read]);
            bytes += read as u64;
        }
        if (bytes, crc.clone().finalize()) != (state.bytes, state.crc32) {
            return Ok(Earlier::Damaged(format!(
                "{} was changed since the download stopped, so it cannot be resumed",
                with_suffix(target, PART).display()
            )));
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        let file = Self { target: target.to_owned(), file, bytes, crc };
        Ok(Earlier::Stopped(Box::new((file, state.download))))
    }

    /// The target of the first unfinished download in a folder whose checkpoint satisfies `is_it`.
    pub(super) fn find(folder: &Path, is_it: impl Fn(&Checkpoint) -> bool) -> Result<Option<PathBuf>, CommandError> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(target) = path.to_str().and_then(|path| path.strip_suffix(STATE)) else { continue };
            // Unreadable files are not ours.
            if let Ok(Some(Ok(state))) = read_state(&path)
                && is_it(&state.download)
            {
                return Ok(Some(target.into()));
            }
        }
        Ok(None)
    }

    /// Syncs the file to disk, then gives it its target's name, which another file has only if that may be replaced.
    pub(super) fn finish(self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        let part = with_suffix(&self.target, PART);
        if replace {
            std::fs::rename(&part, &self.target)?;
        } else {
            rename_new(&part, &self.target)?;
        }
        remove(&with_suffix(&self.target, STATE))?;
        sync_folder(&self.target)
    }

    /// Removes the file and its state.
    pub(super) fn discard(self) -> io::Result<()> {
        Self::remove(&self.target)
    }

    /// Removes what an earlier download has left.
    pub(super) fn remove(target: &Path) -> io::Result<()> {
        remove(&with_suffix(target, STATE))?;
        remove(&with_suffix(target, PART))
    }

    /// The temporary path.
    pub(super) fn path(&self) -> PathBuf {
        with_suffix(&self.target, PART)
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for PartialFile {
    fn file_to_sync(&self) -> io::Result<Option<File>> {
        self.file.try_clone().map(Some)
    }
}

impl Checkpointed for PartialFile {
    /// The state is replaced in one step. It need not reach the disk before the file does: what is read back is held
    /// against the sum.
    fn checkpoint(&mut self, download: &Checkpoint) -> io::Result<()> {
        let state = State { bytes: self.bytes, crc32: self.crc.clone().finalize(), download: download.clone() };
        let path = with_suffix(&self.target, STATE);
        let new = with_suffix(&self.target, NEW_STATE);
        remove(&new)?;
        File::create_new(&new)?.write_all(&serde_json::to_vec_pretty(&state)?)?;
        std::fs::rename(new, path)
    }
}

/// Makes an empty file, in the place of what is there.
pub(super) fn create(path: &Path) -> io::Result<File> {
    remove(path)?;
    File::options().read(true).write(true).create_new(true).open(path)
}

/// Opens and locks what is there under a temporary name; `None` if nothing is.
pub(super) fn open(path: &Path, write: bool) -> Result<Option<File>, CommandError> {
    let Some(file) = open_own(path, write)? else { return Ok(None) };
    lock(&file, path)?;
    Ok(Some(file))
}

/// Opens a file that this account has left; `None` if there is none. Others may have put anything else in its place: a
/// link to a file of theirs or ours, a pipe that nobody reads, a device.
pub(super) fn open_own(path: &Path, write: bool) -> Result<Option<File>, CommandError> {
    let refused =
        |what: &dyn std::fmt::Display| format!("{}: {what}; remove it, or use another --output", path.display());
    let own = |metadata: &Metadata| {
        if !metadata.is_file() || (write && metadata.nlink() > 1) {
            return Err(refused(&"a download was expected here, but it is a link, a folder, a pipe or a device"));
        }
        if metadata.uid() != geteuid().as_raw() {
            return Err(refused(&"it belongs to another account"));
        }
        Ok(())
    };
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        // Opening a device may do something.
        Ok(metadata) => own(&metadata)?,
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).write(write).custom_flags(flags.bits()).open(path);
    let file = file.map_err(|error| refused(&error))?;
    own(&file.metadata()?)?;
    Ok(Some(file))
}

/// Locks a file that was opened by a path.
pub(super) fn lock(file: &File, path: &Path) -> Result<(), CommandError> {
    let busy = || format!("{}: another download is writing to it", path.display());
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy().into()),
        Err(TryLockError::Error(error)) => return Err(format!("{}: {error}", path.display()).into()),
    }
    // Between opening and locking, another process may have renamed the file.
    let (opened, found) = (file.metadata()?, path.symlink_metadata().map_err(|_| busy())?);
    if (opened.dev(), opened.ino()) == (found.dev(), found.ino()) { Ok(()) } else { Err(busy().into()) }
}

/// Renames a file, if no other one has the new name. A link is made in one step, where the file system has links.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}

/// The state, or why it cannot be used; `None` if there is none.
fn read_state(path: &Path) -> Result<Option<Result<State, String>>, CommandError> {
    let Some(file) = open_own(path, false)? else { return Ok(None) };
    let mut content = Vec::new();
    file.take(MAX_STATE_BYTES).read_to_end(&mut content).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(serde_json::from_slice(&content).map_err(|error| format!("{}: {error}", path.display()))))
}

/// The path of a temporary file beside the target. If its name would be too long, a checksum replaces the end of the
/// target's name.
fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let mut short = OsString::from(name);
    if name.len() > MAX_NAME_BYTES {
        short = shortened(&name.to_string_lossy(), MAX_NAME_BYTES).into();
    }
    short.push(suffix);
    target.with_file_name(short)
}

/// A name of at most `max_bytes`. A checksum distinguishes names with the same beginning.
pub(super) fn shortened(name: &str, max_bytes: usize) -> String {
    if name.len() <= max_bytes {
        return name.to_owned();
    }
    let sum = format!("~{:08x}", crc32fast::hash(name.as_bytes()));
    format!("{}{sum}", &name[..name.floor_char_boundary(max_bytes - sum.len())])
}

/// Syncs the file's folder to disk, so that a rename lasts, on systems that support it.
pub(super) fn sync_folder(target: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        synced => synced,
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
