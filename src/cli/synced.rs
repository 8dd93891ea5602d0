//! Files that are synced to disk while more is written to them.

use std::{
    fs::File,
    io::{self, Write},
    sync::mpsc as sync_mpsc,
    thread,
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::output::Lines;

/// How much is written between two syncs, so that the last sync is short.
const SYNC_BYTES: usize = 16 << 20;
/// Writing waits for the disk when this much is not synced.
const MAX_UNSYNCED_BYTES: usize = 256 << 20;

/// Where reports are written.
pub(super) trait Output: Write + Send + 'static {
    /// A handle to the file to sync to disk; `None` if it is not synced.
    fn file_to_sync(&self) -> io::Result<Option<File>> {
        Ok(None)
    }
}

/// Standard output, devices and pipes.
impl<W: Write + Send + 'static> Output for Lines<W> {}

/// An output whose file is synced on a separate thread.
pub(super) struct Synced<W> {
    pub(super) out: W,
    syncer: Option<FileSyncer>,
    unsynced_bytes: usize,
}

/// The result of a request to sync.
enum SyncOutcome {
    Accepted,
    Busy,
    Failed,
}

struct FileSyncer {
    requests: sync_mpsc::SyncSender<()>,
    thread: thread::JoinHandle<io::Result<()>>,
}

// === impl Synced ===

impl<W: Output> Synced<W> {
    pub(super) fn new(out: W) -> Self {
        // Without a handle, the last sync takes longer.
        let syncer = out.file_to_sync().ok().flatten().map(FileSyncer::start);
        Self { out, syncer, unsynced_bytes: 0 }
    }

    /// Waits until what was written is synced; returns what it was written to.
    pub(super) fn finish(mut self) -> (W, io::Result<()>) {
        let flushed = self.out.flush();
        let synced = self.syncer.map_or(Ok(()), FileSyncer::finish);
        (self.out, flushed.and(synced))
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced_bytes < SYNC_BYTES {
            return Ok(());
        }
        let Some(syncer) = &self.syncer else { return Ok(()) };
        match syncer.request_sync(self.unsynced_bytes >= MAX_UNSYNCED_BYTES) {
            SyncOutcome::Accepted => self.unsynced_bytes = 0,
            SyncOutcome::Busy => {}
            SyncOutcome::Failed => return self.syncer.take().map_or(Ok(()), FileSyncer::finish),
        }
        Ok(())
    }
}

impl<W: Output> Write for Synced<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.unsynced_bytes += written;
        self.sync()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

// === impl FileSyncer ===

impl FileSyncer {
    fn start(file: File) -> Self {
        let (requests, waiting) = sync_mpsc::sync_channel(0);
        let thread = thread::spawn(move || {
            while waiting.recv().is_ok() {
                file.sync_data()?;
                forget(&file);
            }
            file.sync_data()
        });
        Self { requests, thread }
    }

    /// Starts to sync what was written so far. If an earlier sync is still running, it waits for that one if it `must`.
    fn request_sync(&self, must: bool) -> SyncOutcome {
        if must {
            return self.requests.send(()).map_or(SyncOutcome::Failed, |()| SyncOutcome::Accepted);
        }
        match self.requests.try_send(()) {
            Ok(()) => SyncOutcome::Accepted,
            Err(sync_mpsc::TrySendError::Full(())) => SyncOutcome::Busy,
            Err(sync_mpsc::TrySendError::Disconnected(())) => SyncOutcome::Failed,
        }
    }

    /// Waits until everything is synced, or syncing has failed.
    fn finish(self) -> io::Result<()> {
        drop(self.requests);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that keeps the file has failed")))
    }
}

/// What is on the disk need not be in memory, too: a large file would take the place of what others read there. Where the system does
/// not know this advice, nothing is lost.
fn forget(file: &File) {
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}
