//! A breakdown as a stream of messages. A task reads ahead of the transport by a message or two, and ends when the client is
//! gone.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bigdecimal::BigDecimal;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;
use tracing::Instrument as _;

use super::produce::produce;
use crate::{
    contract::proto::{self, GetCostBreakdownResponse},
    model::Month,
    reports::{Breakdown, BreakdownChunk, BreakdownHeader, ReportError},
    service::layers::Notes,
};

/// Bytes of a message, about: clients refuse more than 4 MiB by default.
const MESSAGE_BYTES: usize = 256 << 10;
/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 4;
/// How long nothing is sent. Then an empty message says that the server is at work: a month of millions of records takes a
/// while, and so do thousands of months without a row that is wanted.
const QUIET: Duration = Duration::from_secs(5);

/// The messages of a breakdown.
pub(in crate::service) struct BreakdownStream {
    first: Option<GetCostBreakdownResponse>,
    messages: mpsc::Receiver<Result<GetCostBreakdownResponse, Status>>,
}

/// Makes messages of a breakdown.
struct Producer {
    breakdown: Breakdown,
    sender: mpsc::Sender<Result<GetCostBreakdownResponse, Status>>,
    notes: Notes,
    /// Set until the first message is made.
    header: Option<proto::BreakdownHeader>,
}

/// Nobody reads any more.
struct Closed;

impl Stream for BreakdownStream {
    type Item = Result<GetCostBreakdownResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.messages.poll_recv(context),
        }
    }
}

// === impl BreakdownStream ===

impl BreakdownStream {
    /// Waits for the first message, and then starts the stream: what fails until then is a status without a stream, which
    /// clients try again by themselves.
    pub(super) async fn start(breakdown: Breakdown, notes: Notes) -> Result<Self, Status> {
        let (sender, mut messages) = mpsc::channel(QUEUED_MESSAGES);
        let header = Some(breakdown.header().into());
        let mut producer = Producer { breakdown, sender: sender.clone(), notes, header };
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
        while let Some(chunk) = self.next_chunk().await? {
            if self.send_rows(chunk).await.is_err() {
                return Ok(());
            }
        }
        let header = self.breakdown.header();
        let summary = proto::BreakdownSummary {
            row_count: self.breakdown.row_count().cast_signed(),
            totals: self.breakdown.totals().map(|month| total(month, header)).collect(),
        };
        let last = GetCostBreakdownResponse { summary: Some(summary), ..Default::default() };
        // The client may be gone.
        let _ = self.send(last).await;
        Ok(())
    }

    /// The next rows. As long as they are not there, the client hears that they will be.
    async fn next_chunk(&mut self) -> Result<Option<BreakdownChunk>, ReportError> {
        let Self { breakdown, sender, header, .. } = self;
        let mut next = std::pin::pin!(breakdown.next());
        loop {
            match tokio::time::timeout(QUIET, &mut next).await {
                Ok(chunk) => return chunk,
                Err(_) => {
                    let message = GetCostBreakdownResponse { header: header.take(), ..Default::default() };
                    // Where the client is gone, nobody waits for the rest.
                    let _ = sender.send(Ok(message)).await;
                }
            }
        }
    }

    async fn send_rows(&mut self, chunk: BreakdownChunk) -> Result<(), Closed> {
        let header = self.breakdown.header();
        let mut message = GetCostBreakdownResponse::default();
        let mut bytes = 0;
        let mut reports = chunk.reports.iter().peekable();
        for row in chunk.rows {
            let key = (row.line.month, row.line.tenant_id);
            message.reports.extend(reports.next_if(|report| (report.month, report.tenant_id) == key).map(Into::into));
            let row = proto::CostShare::from((row, header));
            bytes += row.encoded_len();
            message.rows.push(row);
            if bytes >= MESSAGE_BYTES {
                self.send(std::mem::take(&mut message)).await?;
                bytes = 0;
            }
        }
        if message.rows.is_empty() { Ok(()) } else { self.send(message).await }
    }

    async fn send(&mut self, mut message: GetCostBreakdownResponse) -> Result<(), Closed> {
        message.header = self.header.take();
        let rows = message.rows.len();
        self.sender.send(Ok(message)).await.map_err(|_| Closed)?;
        self.notes.add_rows(rows);
        Ok(())
    }
}

/// What the rows of a month add up to.
fn total((month, cost): (Month, &BigDecimal), header: BreakdownHeader) -> proto::BreakdownTotal {
    proto::BreakdownTotal {
        month: Some(month.into()),
        currency: header.currency.code().to_owned(),
        cost: cost.to_plain_string(),
    }
}
