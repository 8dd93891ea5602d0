//! A detailed usage report as a stream of messages.
//!
//! A task reads and encodes ahead of the transport by a message or two. When the client is gone, the channel is closed
//! and the task ends, and so does what it is reading; nothing of it stays in the database.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;
use tracing::Instrument as _;

use super::{
    asset_cache::{AssetCache, CurrentAssets, fetch_assets},
    encoder::RecordEncoder,
    packing::Packing,
};
use crate::{
    contract::{MAX_PACKED_RECORDS, proto},
    reports::{ReportError, UsageChunk, UsageReport},
    service::{layers::Notes, rpc::produce::produce},
    store::{AssetKey, RecordRow, StoreError},
};

/// Records in a message, at most: fewer cost throughput in every client language, more cost memory and latency.
const MESSAGE_RECORDS: usize = 512;
/// Packed records in a message, at most; they take a tenth of the bytes.
const PACKED_MESSAGE_RECORDS: usize = 1024;
const _: () = assert!(PACKED_MESSAGE_RECORDS <= MAX_PACKED_RECORDS);
/// Bytes of a message, about: clients refuse more than 4 MiB by default.
const MESSAGE_BYTES: usize = 256 << 10;
/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 4;

/// What stands before each message: a byte that says that it is not compressed, and its length in four ("gRPC over HTTP2",
/// "Length-Prefixed-Message").
pub(in crate::service) const PREFIX_BYTES: usize = 5;

/// The messages of a report, encoded, each with its prefix. As the body of a response they need not be copied once more, as
/// they would by tonic's encoder.
pub(in crate::service) struct UsageStream {
    messages: mpsc::Receiver<Result<Bytes, Status>>,
    has_ended: bool,
}

/// Makes messages of a report.
struct Producer {
    report: UsageReport,
    encoder: RecordEncoder,
    /// Where records are packed.
    packing: Option<Packing>,
    sender: mpsc::Sender<Result<Bytes, Status>>,
    notes: Notes,
    /// Set until the first message is made.
    header: Option<proto::ReportHeader>,
}

impl Stream for UsageStream {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.poll_recv(context)
    }
}

impl HttpBody for UsageStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.messages.poll_recv(context)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.has_ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

// === impl UsageStream ===

impl UsageStream {
    /// Reads the first records, and then starts the stream.
    pub(in crate::service) async fn start(
        report: UsageReport,
        packed: bool,
        notes: Notes,
        assets: Arc<AssetCache>,
    ) -> Result<Self, ReportError> {
        let header = report.header();
        let encoder = RecordEncoder::new(
            header.tenant.organization_id(),
            header.tenant.id(),
            CurrentAssets::new(assets, header.tenant.id()),
        );
        let header = Some(proto::ReportHeader::from(header));
        let (sender, receiver) = mpsc::channel(QUEUED_MESSAGES);
        let packing = packed.then(Packing::default);
        let mut producer = Producer { report, encoder, packing, sender: sender.clone(), notes, header };
        let chunk = match producer.next_chunk().await {
            Ok(chunk) => chunk,
            Err(error) => return Err(producer.report.explain(error).await),
        };
        let run = async move {
            let run = producer.run(chunk).await;
            match run {
                Ok(()) => Ok(()),
                Err(error) => Err(Status::from(producer.report.explain(error).await)),
            }
        };
        tokio::spawn(produce(sender, run).in_current_span());
        Ok(Self { messages: receiver, has_ended: false })
    }
}

// === impl Producer ===

impl Producer {
    async fn next_chunk(&mut self) -> Result<Option<UsageChunk>, ReportError> {
        let Some(chunk) = self.report.next().await? else { return Ok(None) };
        fetch_assets(self.encoder.assets(), &self.report, &chunk).await?;
        Ok(Some(chunk))
    }

    /// Sends everything, the summary last. Returns early, without an error, when the client is gone.
    async fn run(&mut self, mut chunk: Option<UsageChunk>) -> Result<(), ReportError> {
        if chunk.is_none() {
            let first = proto::GetDetailedUsageResponse { header: self.header.take(), ..Default::default() };
            if !self.send(with_room(&first)).await {
                return Ok(());
            }
        }
        while let Some(records) = chunk {
            self.prepare(&records)?;
            let mut start = 0;
            while start < records.rows().len() {
                let (message, end) = self.message(&records, start)?;
                if !self.send(message).await {
                    return Ok(());
                }
                self.notes.add_rows(end - start);
                start = end;
            }
            chunk = self.next_chunk().await?;
        }
        let summary = proto::ReportSummary {
            record_count: self.report.header().record_count.cast_signed(),
            totals: self.report.totals().map(Into::into).collect(),
        };
        let last = proto::GetDetailedUsageResponse { summary: Some(summary), ..Default::default() };
        self.send(with_room(&last)).await;
        Ok(())
    }

    /// Sends a message that has room for its prefix.
    async fn send(&self, mut message: Vec<u8>) -> bool {
        let length = u32::try_from(message.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
        message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        self.sender.send(Ok(message.into())).await.is_ok()
    }

    /// Makes the encoder ready for the records of a chunk.
    fn prepare(&mut self, chunk: &UsageChunk) -> Result<(), ReportError> {
        for stored in chunk.dimensions() {
            let meter = stored.dimensions.meter;
            if !self.encoder.knows_meter(meter) {
                self.encoder.add_meter(meter, self.report.meter(meter)?);
            }
        }
        self.encoder.prepare(chunk.dimensions());
        Ok(())
    }

    /// A message with the records from `start` on, and where the next one begins.
    fn message(&mut self, chunk: &UsageChunk, start: usize) -> Result<(Vec<u8>, usize), ReportError> {
        // The fields of a message may be encoded one after the other.
        let header = proto::GetDetailedUsageResponse { header: self.header.take(), ..Default::default() };
        let mut message = with_room(&header);
        message.reserve(MESSAGE_BYTES);
        let rows = &chunk.rows()[start..];
        let count = match &mut self.packing {
            Some(packing) => {
                let rows = &rows[..rows.len().min(PACKED_MESSAGE_RECORDS)];
                packing.pack(rows, &mut self.encoder, MESSAGE_BYTES, &mut message)
            }
            None => encode(&rows[..rows.len().min(MESSAGE_RECORDS)], &mut self.encoder, &mut message),
        };
        let count = count
            .map_err(|asset| StoreError::Missing(format!("a record names an asset that is not there ({asset:?})")))?;
        let end = start + count;
        let resume_token = self.report.resume_token(chunk, end - 1);
        let token = proto::GetDetailedUsageResponse { resume_token, ..Default::default() };
        message.extend_from_slice(&token.encode_to_vec());
        Ok((message, end))
    }
}

/// Adds records until there are enough bytes, at least one; returns how many there were, or the asset of one that is not known.
fn encode(rows: &[RecordRow], encoder: &mut RecordEncoder, message: &mut Vec<u8>) -> Result<usize, AssetKey> {
    for (row, count) in rows.iter().zip(1..) {
        if !encoder.encode(row, message) {
            return Err(row.asset);
        }
        if message.len() >= MESSAGE_BYTES {
            return Ok(count);
        }
    }
    Ok(rows.len())
}

/// A message, encoded, with room for its prefix.
fn with_room(message: &proto::GetDetailedUsageResponse) -> Vec<u8> {
    let mut bytes = vec![0; PREFIX_BYTES];
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}
