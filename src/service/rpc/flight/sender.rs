//! Sends batches of columns. The last one is held back until all records add up.

use std::pin::Pin;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;
use tracing::Instrument as _;

use super::{
    data::{FlightEncoder, failure},
    usage_batches::BatchError,
};
use crate::{
    reports::ReportError,
    service::{
        layers::Notes,
        rpc::{message_stream::QUIET, produce::produce},
    },
    store::StoreError,
};

/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 2;

pub(super) type FlightStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Sends the messages of a stream.
pub(super) struct Sender {
    encoder: FlightEncoder,
    messages: mpsc::Sender<Result<FlightData, Status>>,
    notes: Notes,
    /// The batch that was made last.
    last: RecordBatch,
}

/// Why a stream ends early.
pub(super) enum Stop {
    Failed(ReportError),
    Columns(BatchError),
    /// The client is gone.
    Gone,
}

// === impl Sender ===

impl Sender {
    /// Begins a stream with the schema of a batch without rows, and runs what sends the rest.
    pub(super) fn start<F>(empty: RecordBatch, notes: Notes, run: impl FnOnce(Self) -> F) -> FlightStream
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (messages, receiver) = mpsc::channel(QUEUED_MESSAGES);
        let (encoder, schema) = FlightEncoder::new(&empty.schema());
        // There is room, and someone to receive it.
        let _ = messages.try_send(Ok(schema));
        let sender = Self { encoder, messages: messages.clone(), notes, last: empty };
        tokio::spawn(produce(messages, run(sender)).in_current_span());
        Box::pin(ReceiverStream::new(receiver))
    }

    /// Waits for something. As long as it is not there, empty batches say that the server is at work.
    pub(super) async fn wait<T>(&mut self, something: impl Future<Output = T>) -> Result<T, Stop> {
        let mut something = std::pin::pin!(something);
        loop {
            match tokio::time::timeout(QUIET, &mut something).await {
                Ok(found) => return Ok(found),
                Err(_) => self.send_batch(&RecordBatch::new_empty(self.last.schema()), Bytes::new()).await?,
            }
        }
    }

    /// Sends the batch before.
    pub(super) async fn put(&mut self, batch: RecordBatch) -> Result<(), Stop> {
        let before = std::mem::replace(&mut self.last, batch);
        if before.num_rows() > 0 { self.send_batch(&before, Bytes::new()).await } else { Ok(()) }
    }

    /// Sends the last batch, with what all of them add up to.
    pub(super) async fn end(&mut self, summary: Bytes) -> Result<(), Stop> {
        let last = self.last.clone();
        self.send_batch(&last, summary).await
    }

    async fn send_batch(&mut self, batch: &RecordBatch, app_metadata: Bytes) -> Result<(), Stop> {
        for message in self.encoder.encode(batch, app_metadata).map_err(|error| Stop::Columns(error.into()))? {
            self.messages.send(Ok(message)).await.map_err(|_| Stop::Gone)?;
        }
        self.notes.add_rows(batch.num_rows());
        Ok(())
    }
}

// === impl Stop ===

impl Stop {
    /// What a client is told, if anything. `too_long`: where a number does not fit its column.
    pub(super) fn into_end(self, too_long: impl FnOnce() -> Status) -> Result<(), Status> {
        match self {
            Self::Gone => Ok(()),
            Self::Failed(error) => Err(error.into()),
            Self::Columns(BatchError::Store(error)) => Err(error.into()),
            Self::Columns(BatchError::TooLong) => Err(too_long()),
            Self::Columns(BatchError::Arrow(error)) => Err(failure(&error)),
        }
    }
}

impl From<ReportError> for Stop {
    fn from(error: ReportError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<BatchError> for Stop {
    fn from(error: BatchError) -> Self {
        Self::Columns(error)
    }
}
