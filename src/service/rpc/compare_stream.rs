//! A comparison as a stream of messages.

use prost::Message as _;
use tonic::Status;

use super::message_stream::{Closed, MESSAGE_BYTES, MessageStream, Messages, Part};
use crate::{
    contract::proto::{self, CompareCostsResponse},
    reports::{ComparedLine, Comparison, ReportError},
    service::layers::Notes,
};

/// The messages of a comparison.
pub(in crate::service) type ComparisonStream = MessageStream<CompareCostsResponse>;

impl Part for CompareCostsResponse {
    type Header = proto::ComparisonHeader;

    fn put_header(&mut self, header: Option<Self::Header>) {
        self.header = header;
    }

    fn row_count(&self) -> usize {
        self.lines.len()
    }
}

pub(super) async fn start(comparison: Comparison, notes: Notes) -> Result<ComparisonStream, Status> {
    MessageStream::start(comparison.header().into(), notes, |messages| run(comparison, messages)).await
}

/// Sends everything, the summary last. Returns early, without an error, when the client is gone.
async fn run(mut comparison: Comparison, mut messages: Messages<CompareCostsResponse>) -> Result<(), ReportError> {
    while let Some(lines) = messages.wait(comparison.next()).await? {
        if send_lines(&lines, &mut messages).await.is_err() {
            return Ok(());
        }
    }
    let (assets, left_out) = match comparison.take_assets() {
        Ok(assets) => (assets.into_iter().map(Into::into).collect(), 0),
        Err(left_out) => (Vec::new(), left_out as i32),
    };
    // There are at most a hundred.
    if !assets.is_empty() && messages.send(CompareCostsResponse { assets, ..Default::default() }).await.is_err() {
        return Ok(());
    }
    let summary = proto::ComparisonSummary { assets_left_out: left_out, ..comparison.summary().into() };
    // The client may be gone.
    let _ = messages.send(CompareCostsResponse { summary: Some(summary), ..Default::default() }).await;
    Ok(())
}

async fn send_lines(lines: &[ComparedLine], messages: &mut Messages<CompareCostsResponse>) -> Result<(), Closed> {
    let mut message = CompareCostsResponse::default();
    let mut bytes = 0;
    for line in lines {
        let line = proto::ComparedLine::from(line);
        bytes += line.encoded_len();
        message.lines.push(line);
        if bytes >= MESSAGE_BYTES {
            messages.send(std::mem::take(&mut message)).await?;
            bytes = 0;
        }
    }
    if message.lines.is_empty() { Ok(()) } else { messages.send(message).await }
}
