//! A comparison as a stream of messages. A task reads ahead of the transport by a message or two, and ends when the client is
//! gone.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;
use tracing::Instrument as _;

use super::produce::produce;
use crate::{
    contract::proto::{self, CompareCostsResponse},
    reports::{ComparedLine, Comparison, ReportError},
    service::layers::Notes,
};

/// Bytes of a message, about: clients refuse more than 4 MiB by default.
const MESSAGE_BYTES: usize = 256 << 10;
/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 4;
/// How long nothing is sent. Then an empty message says that the server is at work.
const QUIET: Duration = Duration::from_secs(5);

/// The messages of a comparison.
pub(in crate::service) struct ComparisonStream {
    first: Option<CompareCostsResponse>,
    messages: mpsc::Receiver<Result<CompareCostsResponse, Status>>,
}

/// Makes messages of a comparison.
struct Producer {
    comparison: Comparison,
    sender: mpsc::Sender<Result<CompareCostsResponse, Status>>,
    notes: Notes,
    /// Set until the first message is made.
    header: Option<proto::ComparisonHeader>,
}

/// Nobody reads any more.
struct Closed;

impl Stream for ComparisonStream {
    type Item = Result<CompareCostsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.messages.poll_recv(context),
        }
    }
}

// === impl ComparisonStream ===

impl ComparisonStream {
    /// Waits for the first message, and then starts the stream: what fails until then is a status without a stream, which
    /// clients try again by themselves.
    pub(super) async fn start(comparison: Comparison, notes: Notes) -> Result<Self, Status> {
        let (sender, mut messages) = mpsc::channel(QUEUED_MESSAGES);
        let header = Some(comparison.header().into());
        let mut producer = Producer { comparison, sender: sender.clone(), notes, header };
        let run = async move { producer.run().await.map_err(Status::from) };
        tokio::spawn(produce(sender, run).in_current_span());
        let first = messages.recv().await.transpose()?;
        Ok(Self { first, messages })
    }
}

// === impl Producer ===

impl Producer {
    /// Sends everything, the summary last. Returns early, without an error, when the client is gone.
    async fn run(&mut self) -> Result<(), ReportError> {
        while let Some(lines) = self.next_lines().await? {
            if self.send_lines(&lines).await.is_err() {
                return Ok(());
            }
        }
        let (assets, left_out) = match self.comparison.take_assets() {
            Ok(assets) => (assets.into_iter().map(Into::into).collect(), 0),
            Err(left_out) => (Vec::new(), left_out as i32),
        };
        // There are at most a hundred.
        if !assets.is_empty() && self.send(CompareCostsResponse { assets, ..Default::default() }).await.is_err() {
            return Ok(());
        }
        let summary = proto::ComparisonSummary { assets_left_out: left_out, ..self.comparison.summary().into() };
        let summary = Some(summary);
        // The client may be gone.
        let _ = self.send(CompareCostsResponse { summary, ..Default::default() }).await;
        Ok(())
    }

    /// The next lines. As long as they are not there, the client hears that they will be.
    async fn next_lines(&mut self) -> Result<Option<Vec<ComparedLine>>, ReportError> {
        let Self { comparison, sender, header, .. } = self;
        let mut next = std::pin::pin!(comparison.next());
        loop {
            match tokio::time::timeout(QUIET, &mut next).await {
                Ok(lines) => return lines,
                Err(_) => {
                    let message = CompareCostsResponse { header: header.take(), ..Default::default() };
                    // Where the client is gone, nobody waits for the rest.
                    let _ = sender.send(Ok(message)).await;
                }
            }
        }
    }

    async fn send_lines(&mut self, lines: &[ComparedLine]) -> Result<(), Closed> {
        let mut message = CompareCostsResponse::default();
        let mut bytes = 0;
        for line in lines {
            let line = proto::ComparedLine::from(line);
            bytes += line.encoded_len();
            message.lines.push(line);
            if bytes >= MESSAGE_BYTES {
                self.send(std::mem::take(&mut message)).await?;
                bytes = 0;
            }
        }
        if message.lines.is_empty() { Ok(()) } else { self.send(message).await }
    }

    async fn send(&mut self, mut message: CompareCostsResponse) -> Result<(), Closed> {
        message.header = self.header.take();
        let lines = message.lines.len();
        self.sender.send(Ok(message)).await.map_err(|_| Closed)?;
        self.notes.add_rows(lines);
        Ok(())
    }
}
