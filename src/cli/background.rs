//! Writes on a separate thread, so that a slow disk does not stall the network, nor the network the disk.

use std::io::{self, Write};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    output::Lines,
    synced::{Output, Synced},
};
use crate::client::Checkpoint;

/// The capacity of the queue to the thread.
const QUEUE_LENGTH: usize = 8;
/// Where a download is written that can be resumed.
pub(super) trait Checkpointed: Output {
    /// Records the state of the download, after the lines that it counts.
    fn checkpoint(&mut self, _: &Checkpoint) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, devices and pipes.
impl<W: Write + Send + 'static> Checkpointed for Lines<W> {}

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

// === impl BackgroundWriter ===

impl<W: Checkpointed> BackgroundWriter<W> {
    pub(super) fn start(out: W) -> Self {
        let (pieces, waiting) = mpsc::channel(QUEUE_LENGTH);
        let (written_buffers, spare) = mpsc::channel(QUEUE_LENGTH);
        let writer = tokio::task::spawn_blocking(move || {
            let mut out = Synced::new(out);
            let written = write_all(&mut out, waiting, &written_buffers);
            let (out, synced) = out.finish();
            (out, written.and(synced))
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

fn write_all<W: Checkpointed>(
    synced: &mut Synced<W>,
    mut waiting: mpsc::Receiver<Piece>,
    written_buffers: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    while let Some(piece) = waiting.blocking_recv() {
        match piece {
            Piece::Lines(mut lines) => {
                synced.write_all(&lines)?;
                lines.clear();
                // Dropped if there are enough spare buffers.
                let _ = written_buffers.try_send(lines);
            }
            Piece::Checkpoint(checkpoint) => {
                synced.flush()?;
                synced.out.checkpoint(&checkpoint)?;
            }
        }
    }
    Ok(())
}
