//! Writes on a separate thread, so that a slow disk does not stall the network, nor the network the disk.

use std::{
    fs::File,
    io::{self, Write},
    sync::mpsc as sync_mpsc,
    thread,
};

use tokio::{sync::mpsc, task::JoinHandle};

use super::output::Lines;
use crate::client::Checkpoint;

/// The capacity of the queue to the thread.
const QUEUE_LENGTH: usize = 8;
/// How much is written between two syncs, so that the last sync is short.
const SYNC_BYTES: usize = 32 << 20;
/// Writing waits for the disk when this much is not synced.
const MAX_UNSYNCED_BYTES: usize = 256 << 20;

/// The destination of a download.
pub(super) trait Output: Write + Send + 'static {
    /// A handle to the file to sync to disk; `None` if it is not synced.
    fn file_to_sync(&self) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// Records the state of the download, after the lines that it counts.
    fn checkpoint(&mut self, _: &Checkpoint) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, devices and pipes.
impl<W: Write + Send + 'static> Output for Lines<W> {}

/// Writes lines and checkpoints in the order in which it gets them.
pub(super) struct BackgroundWriter<W> {
    pieces: mpsc::Sender<Piece>,
    /// Empty buffers to reuse.
    spare: mpsc::Receiver<Vec<u8>>,
    writer: JoinHandle<(W, io::Result<()>)>,
}

enum Piece {
    Lines(Vec<u8>),
    Checkpoint(Box<Checkpoint>),
}

/// The result of a request to sync.
enum SyncOutcome {
    Accepted,
    Busy,
    Failed,
}

/// Syncs a file on a separate thread, while more is written to it.
struct FileSyncer {
    requests: sync_mpsc::SyncSender<()>,
    thread: thread::JoinHandle<io::Result<()>>,
}

// === impl BackgroundWriter ===

impl<W: Output> BackgroundWriter<W> {
    pub(super) fn start(mut out: W) -> Self {
        let (pieces, waiting) = mpsc::channel(QUEUE_LENGTH);
        let (written_buffers, spare) = mpsc::channel(QUEUE_LENGTH);
        let writer = tokio::task::spawn_blocking(move || {
            let written = write_all(&mut out, waiting, &written_buffers);
            (out, written)
        });
        Self { pieces, spare, writer }
    }

    /// Hands over lines, and puts an empty buffer in their place. `false`: the thread has failed, and
    /// [`finish`](Self::finish) says why.
    pub(super) async fn write(&mut self, lines: &mut Vec<u8>) -> bool {
        let spare = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(lines.capacity()));
        self.pieces.send(Piece::Lines(std::mem::replace(lines, spare))).await.is_ok()
    }

    /// Sends the state of the download, after the lines that it counts.
    pub(super) async fn checkpoint(&mut self, checkpoint: Checkpoint) -> bool {
        self.pieces.send(Piece::Checkpoint(Box::new(checkpoint))).await.is_ok()
    }

    /// Waits until everything is written, or writing has failed.
    pub(super) async fn finish(self) -> io::Result<(W, io::Result<()>)> {
        drop(self.pieces);
        self.writer.await.map_err(io::Error::other)
    }
}

fn write_all(
    out: &mut impl Output,
    mut waiting: mpsc::Receiver<Piece>,
    written_buffers: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let syncer = out.file_to_sync()?.map(FileSyncer::start);
    let mut unsynced_bytes = 0;
    while let Some(piece) = waiting.blocking_recv() {
        match piece {
            Piece::Lines(mut lines) => {
                out.write_all(&lines)?;
                unsynced_bytes += lines.len();
                lines.clear();
                // Dropped if there are enough spare buffers.
                let _ = written_buffers.try_send(lines);
            }
            Piece::Checkpoint(checkpoint) => {
                out.flush()?;
                out.checkpoint(&checkpoint)?;
            }
        }
        if unsynced_bytes >= SYNC_BYTES
            && let Some(syncer) = &syncer
        {
            match syncer.request_sync(unsynced_bytes >= MAX_UNSYNCED_BYTES) {
                SyncOutcome::Accepted => unsynced_bytes = 0,
                SyncOutcome::Busy => {}
                // `finish` returns the error.
                SyncOutcome::Failed => break,
            }
        }
    }
    out.flush()?;
    syncer.map_or(Ok(()), FileSyncer::finish)
}

// === impl FileSyncer ===

impl FileSyncer {
    fn start(file: File) -> Self {
        let (requests, waiting) = sync_mpsc::sync_channel(0);
        let thread = thread::spawn(move || {
            while waiting.recv().is_ok() {
                file.sync_data()?;
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
