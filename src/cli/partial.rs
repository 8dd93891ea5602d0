//! A file that is being downloaded: `NAME.part`, next to `NAME.part.json`, which says how far it is. It gets its own name
//! when it is whole; until then another process can go on with it.

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{CommandError, background::Output};
use crate::client::Checkpoint;

const PART: &str = ".part";
const STATE: &str = ".part.json";
const NEW_STATE: &str = ".part.json.new";
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

// === impl PartialFile ===

impl PartialFile {
    /// An empty file. Replaces what an earlier download has left.
    pub(super) fn create(target: &Path) -> Result<Self, CommandError> {
        let file = open(target)?;
        remove(&with_suffix(target, STATE))?;
        file.set_len(0)?;
        sync_folder(target)?;
        Ok(Self { target: target.to_owned(), file, bytes: 0, crc: crc32fast::Hasher::new() })
    }

    /// The file of an earlier download, truncated to its checkpoint, and the checkpoint; `None` if there is none.
    pub(super) fn reopen(target: &Path) -> Result<Option<(Self, Checkpoint)>, CommandError> {
        let Some(state) = read_state(&with_suffix(target, STATE))? else { return Ok(None) };
        if !with_suffix(target, PART).exists() {
            // The file was completed or removed.
            remove(&with_suffix(target, STATE))?;
            return Ok(None);
        }
        let mut file = open(target)?;
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
            return Err(format!(
                "{} was changed since the download stopped, so it cannot be resumed; run the command without --resume \
                 to start again",
                with_suffix(target, PART).display()
            )
            .into());
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Some((Self { target: target.to_owned(), file, bytes, crc }, state.download)))
    }

    /// The target of the first unfinished download in a folder whose checkpoint satisfies `is_it`.
    pub(super) fn find(folder: &Path, is_it: impl Fn(&Checkpoint) -> bool) -> Result<Option<PathBuf>, CommandError> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(target) = path.to_str().and_then(|path| path.strip_suffix(STATE)) else { continue };
            // Unreadable files are not ours.
            if read_state(&path).ok().flatten().is_some_and(|state| is_it(&state.download)) {
                return Ok(Some(target.into()));
            }
        }
        Ok(None)
    }

    /// Syncs the file to disk, then renames it to its target.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(with_suffix(&self.target, PART), &self.target)?;
        remove(&with_suffix(&self.target, STATE))?;
        sync_folder(&self.target)
    }

    /// Removes the file and its state.
    pub(super) fn discard(self) -> io::Result<()> {
        remove(&with_suffix(&self.target, STATE))?;
        remove(&with_suffix(&self.target, PART))
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

    /// The state is replaced in one step. It need not reach the disk before the file does: what is read back is held
    /// against the sum.
    fn checkpoint(&mut self, download: &Checkpoint) -> io::Result<()> {
        let state = State { bytes: self.bytes, crc32: self.crc.clone().finalize(), download: download.clone() };
        let path = with_suffix(&self.target, STATE);
        let new = with_suffix(&self.target, NEW_STATE);
        std::fs::write(&new, serde_json::to_vec_pretty(&state)?)?;
        std::fs::rename(new, path)
    }
}

/// Opens and locks the file under its temporary name.
fn open(target: &Path) -> Result<File, CommandError> {
    let path = with_suffix(target, PART);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| format!("{}: {error}", target.display()))?;
    let busy = || format!("{}: another download is writing to it, or it is a link", path.display());
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy().into()),
        Err(TryLockError::Error(error)) => return Err(format!("{}: {error}", path.display()).into()),
    }
    // Between opening and locking, another process may have renamed the file. A link may point anywhere.
    let (opened, found) = (file.metadata()?, path.symlink_metadata().map_err(|_| busy())?);
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
        return Err(busy().into());
    }
    Ok(file)
}

fn read_state(path: &Path) -> Result<Option<State>, CommandError> {
    let content = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        content => content.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let damaged = |error| format!("{}: {error}; run the command without --resume to start again", path.display());
    Ok(Some(serde_json::from_slice(&content).map_err(damaged)?))
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
fn sync_folder(target: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        synced => synced,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
