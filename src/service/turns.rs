//! Lets strangers' connections read in turns. What a connection has sent is begun, and most of it refused or dropped, before the
//! next bytes of its like are read: headers that were read and not begun would pile up, and compression makes a hundred bytes of
//! them from one.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::PollSemaphore;

/// How many connections may have read bytes whose calls have not begun.
const TURNS: usize = 32;
/// What is read in a turn.
const TURN_BYTES: usize = 4 << 10;
/// Calls of a turn go to the end of the queue of tasks, and have begun when all that was in the queue has run.
const ROUNDS: usize = 2;

/// The turns of a server.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

/// The turns of a connection.
pub(super) struct TurnReader {
    turns: PollSemaphore,
    /// The last turn, until the calls that it brought have begun.
    last: Option<JoinHandle<()>>,
}

// === impl Turns ===

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURNS)))
    }
}

// === impl TurnReader ===

impl TurnReader {
    pub(super) fn new(turns: &Turns) -> Self {
        Self { turns: PollSemaphore::new(Arc::clone(&turns.0)), last: None }
    }

    pub(super) fn poll_read(
        &mut self,
        io: Pin<&mut (impl AsyncRead + ?Sized)>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(last) = &mut self.last {
            let _ = ready!(Pin::new(last).poll(context));
            self.last = None;
        }
        // The semaphore is never closed.
        let Some(turn) = ready!(self.turns.poll_acquire(context)) else { return Poll::Pending };
        let room = buffer.remaining().min(TURN_BYTES);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(io.poll_read(context, &mut part))?;
        let count = part.filled().len();
        buffer.advance(count);
        self.last = Some(tokio::spawn(end(turn)));
        Poll::Ready(Ok(()))
    }

    /// Leaves the queue, or gives a turn back that came and was not taken: whoever does not read now must not keep it from others.
    pub(super) fn step_back(&mut self) {
        self.turns = PollSemaphore::new(self.turns.clone_inner());
    }
}

async fn end(turn: OwnedSemaphorePermit) {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
    drop(turn);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    struct Reader<'a>(&'a [u8], TurnReader);

    impl AsyncRead for Reader<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Self(bytes, reader) = &mut *self;
            reader.poll_read(Pin::new(bytes), context, buffer)
        }
    }

    #[tokio::test]
    async fn everything_is_read_in_parts() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let turns = Turns::default();
        let mut reader = Reader(&bytes, TurnReader::new(&turns));
        let mut part = vec![0; 64 << 10];
        assert_eq!(reader.read(&mut part).await.unwrap(), TURN_BYTES);
        assert_eq!(turns.0.available_permits(), TURNS - 1);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&part[..TURN_BYTES], &rest].concat(), bytes);
    }

    #[tokio::test]
    async fn whoever_has_nothing_to_read_takes_no_turn() {
        let turns = Turns::default();
        let (idle, _peer) = tokio::io::duplex(8);
        let mut reader = TurnReader::new(&turns);
        let mut idle = std::pin::pin!(idle);
        let mut part = [0; 8];
        let read = std::future::poll_fn(|context| {
            Poll::Ready(reader.poll_read(idle.as_mut(), context, &mut ReadBuf::new(&mut part)))
        });
        assert!(read.await.is_pending());
        assert_eq!(turns.0.available_permits(), TURNS);
    }

    #[tokio::test]
    async fn whoever_steps_back_keeps_no_turn_from_others() {
        let turns = Turns::default();
        let taken = Arc::clone(&turns.0).acquire_many_owned(TURNS as u32).await.unwrap();
        let mut readers: Vec<_> = (0..TURNS).map(|_| Reader(b"abc", TurnReader::new(&turns))).collect();
        let mut part = [0; 8];
        for reader in &mut readers {
            assert!(futures_util::poll!(std::pin::pin!(reader.read(&mut part))).is_pending());
        }
        drop(taken);
        assert_eq!(turns.0.available_permits(), 0, "they are given to those in the queue");
        readers.iter_mut().for_each(|Reader(_, reader)| reader.step_back());
        assert_eq!(turns.0.available_permits(), TURNS);
    }

    #[tokio::test]
    async fn whoever_finds_all_turns_taken_waits_for_one() {
        let turns = Turns::default();
        let taken = Arc::clone(&turns.0).acquire_many_owned(TURNS as u32).await.unwrap();
        let mut reader = Reader(b"abc", TurnReader::new(&turns));
        let mut part = [0; 8];
        let mut read = std::pin::pin!(reader.read(&mut part));
        assert!(futures_util::poll!(&mut read).is_pending());
        drop(taken);
        assert_eq!(read.await.unwrap(), 3);
    }
}
