//! Writing by a thread of its own: a disk that is slow for a moment does not hold up the network, nor the other way round.

use std::io::{self, Write};

use tokio::{sync::mpsc, task::JoinHandle};

/// Pieces on their way to the thread.
const QUEUED_PIECES: usize = 8;
/// How much is written before the disk is told to keep it: what is left for the end takes no time worth speaking of.
const SYNC_BYTES: usize = 64 << 20;

/// Writes what it is handed, in order.
pub(super) struct BackgroundWriter<W> {
    pieces: mpsc::Sender<Vec<u8>>,
    /// Buffers that were written.
    spare: mpsc::Receiver<Vec<u8>>,
    writer: JoinHandle<io::Result<W>>,
}

// === impl BackgroundWriter ===

impl<W: Write + Send + 'static> BackgroundWriter<W> {
    /// Starts the thread. `sync` is called from time to time, and at the end.
    pub(super) fn start(mut out: W, sync: impl Fn(&W) -> io::Result<()> + Send + 'static) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(QUEUED_PIECES);
        let (give_back, spare) = mpsc::channel(QUEUED_PIECES);
        let writer = tokio::task::spawn_blocking(move || {
            let mut unsynced = 0;
            while let Some(mut piece) = waiting.blocking_recv() {
                out.write_all(&piece)?;
                unsynced += piece.len();
                if unsynced >= SYNC_BYTES {
                    sync(&out)?;
                    unsynced = 0;
                }
                piece.clear();
                // Where there are spare buffers enough, it is let go.
                let _ = give_back.try_send(piece);
            }
            out.flush()?;
            sync(&out)?;
            Ok(out)
        });
        Self { pieces, spare, writer }
    }

    /// Hands over a piece, and puts an empty buffer in its place. `false`: the thread has failed, and
    /// [`finish`](Self::finish) says why.
    pub(super) async fn write(&mut self, piece: &mut Vec<u8>) -> bool {
        let spare = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(piece.capacity()));
        self.pieces.send(std::mem::replace(piece, spare)).await.is_ok()
    }

    /// Waits until all is written.
    pub(super) async fn finish(self) -> io::Result<W> {
        drop(self.pieces);
        self.writer.await.map_err(io::Error::other)?
    }
}
