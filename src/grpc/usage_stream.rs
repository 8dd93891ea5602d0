//! A detailed usage report as a stream of messages.
//!
//! A task reads and encodes ahead of the transport by a message or two. When the client is gone, the channel is closed
//! and the task ends after the range it is reading, some milliseconds later; nothing of it stays in the database.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;
use tracing::Instrument as _;

use super::audit::Notes;
use crate::{
    proto,
    report::{ReportError, UsageChunk, UsageReport},
};

type Message = proto::GetDetailedUsageResponse;

/// Records in a message, at most: fewer cost throughput in every client language, more cost memory and latency.
const MESSAGE_RECORDS: usize = 500;
/// Bytes of a message, about: clients refuse more than 4 MiB by default.
const MESSAGE_BYTES: usize = 256 << 10;
/// What a record has besides its texts, generously.
const RECORD_BYTES: usize = 256;
/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 2;

/// The messages of a report.
pub struct UsageStream(mpsc::Receiver<Result<Message, Status>>);

impl Stream for UsageStream {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

// === impl UsageStream ===

impl UsageStream {
    /// Reads the first records, and then starts the stream.
    pub(super) async fn start(mut report: UsageReport, notes: Notes) -> Result<Self, ReportError> {
        let header = Some(proto::ReportHeader::from(report.header()));
        let chunk = report.next().await?;
        let (sender, receiver) = mpsc::channel(QUEUED_MESSAGES);
        let producer = async move {
            if let Err(error) = produce(&sender, &mut report, header, chunk, &notes).await {
                // Where the client is gone too, there is nobody to tell.
                let _ = sender.send(Err(error.into())).await;
            }
        };
        tokio::spawn(producer.in_current_span());
        Ok(Self(receiver))
    }
}

/// Sends everything, the summary last. Returns early, without an error, when nobody listens any more.
async fn produce(
    sender: &mpsc::Sender<Result<Message, Status>>,
    report: &mut UsageReport,
    mut header: Option<proto::ReportHeader>,
    mut chunk: Option<UsageChunk>,
    notes: &Notes,
) -> Result<(), ReportError> {
    if chunk.is_none() {
        let first = Message { header: header.take(), ..Message::default() };
        if sender.send(Ok(first)).await.is_err() {
            return Ok(());
        }
    }
    while let Some(records) = chunk {
        let mut start = 0;
        while start < records.records.len() {
            let end = message_end(&records, start);
            let message = Message {
                header: header.take(),
                records: records.records[start..end].iter().map(Into::into).collect(),
                resume_token: report.resume_token(&records, end - 1),
                summary: None,
            };
            if sender.send(Ok(message)).await.is_err() {
                return Ok(());
            }
            notes.add_rows(end - start);
            start = end;
        }
        chunk = report.next().await?;
    }
    let summary = proto::ReportSummary {
        record_count: report.header().record_count.cast_signed(),
        totals: report.totals().map(Into::into).collect(),
    };
    let _ = sender.send(Ok(Message { summary: Some(summary), ..Message::default() })).await;
    Ok(())
}

/// How far a message reaches that starts at a record.
fn message_end(chunk: &UsageChunk, start: usize) -> usize {
    let mut bytes = 0;
    for (index, record) in chunk.records.iter().enumerate().skip(start).take(MESSAGE_RECORDS) {
        bytes += RECORD_BYTES + record.asset.name.len() + record.asset.id.len() + record.meter.name.len();
        if bytes >= MESSAGE_BYTES {
            return index + 1;
        }
    }
    chunk.records.len().min(start + MESSAGE_RECORDS)
}
