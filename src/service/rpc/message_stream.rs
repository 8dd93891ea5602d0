//! An answer as a stream of messages. A task reads ahead of the transport by a message or two, and ends when the client is gone.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;
use tracing::Instrument as _;

use super::produce::produce;
use crate::{reports::ReportError, service::layers::Notes};

/// Bytes of a message, about: clients refuse more than 4 MiB by default.
pub(super) const MESSAGE_BYTES: usize = 256 << 10;
/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 4;
/// How long nothing is sent. Then an empty message says that the server is at work: a month of millions of records takes a
/// while, and so do thousands of months without a row that is wanted.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// What such an answer is made of.
pub(in crate::service) trait Part: Default + Send + 'static {
    type Header: Send;

    /// The first message has it.
    fn put_header(&mut self, header: Option<Self::Header>);

    fn row_count(&self) -> usize;
}

/// The messages of an answer.
pub(in crate::service) struct MessageStream<M> {
    first: Option<M>,
    messages: mpsc::Receiver<Result<M, Status>>,
}

/// Where messages are sent to.
pub(super) struct Messages<M: Part> {
    sender: mpsc::Sender<Result<M, Status>>,
    notes: Notes,
    /// Set until the first message is sent.
    header: Option<M::Header>,
}

/// Nobody reads any more.
pub(super) struct Closed;

impl<M: Unpin> Stream for MessageStream<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.messages.poll_recv(context),
        }
    }
}

// === impl MessageStream ===

impl<M: Part> MessageStream<M> {
    /// Waits for the first message, and then starts the stream: what fails until then is a status without a stream, which
    /// clients try again by themselves. `run` sends everything.
    pub(super) async fn start<R>(
        header: M::Header,
        notes: Notes,
        run: impl FnOnce(Messages<M>) -> R,
    ) -> Result<Self, Status>
    where
        R: Future<Output = Result<(), ReportError>> + Send + 'static,
    {
        let (sender, mut messages) = mpsc::channel(QUEUED_MESSAGES);
        let run = run(Messages { sender: sender.clone(), notes, header: Some(header) });
        let run = async move { run.await.map_err(Status::from) };
        tokio::spawn(produce(sender, run).in_current_span());
        let first = messages.recv().await.transpose()?;
        Ok(Self { first, messages })
    }
}

// === impl Messages ===

impl<M: Part> Messages<M> {
    /// Waits for something. As long as it is not there, the client hears that it will be.
    pub(super) async fn wait<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = std::pin::pin!(something);
        loop {
            match tokio::time::timeout(QUIET, &mut something).await {
                Ok(found) => return found,
                Err(_) => {
                    // Where the client is gone, nobody waits for the rest.
                    let _ = self.send(M::default()).await;
                }
            }
        }
    }

    pub(super) async fn send(&mut self, mut message: M) -> Result<(), Closed> {
        message.put_header(self.header.take());
        let rows = message.row_count();
        self.sender.send(Ok(message)).await.map_err(|_| Closed)?;
        self.notes.add_rows(rows);
        Ok(())
    }
}
