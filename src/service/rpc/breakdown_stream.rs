//! A breakdown as a stream of messages.

use bigdecimal::BigDecimal;
use prost::Message as _;
use tonic::Status;

use super::message_stream::{Closed, MESSAGE_BYTES, MessageStream, Messages, Part};
use crate::{
    contract::proto::{self, GetCostBreakdownResponse},
    model::Month,
    reports::{Breakdown, BreakdownChunk, BreakdownHeader, ReportError},
    service::layers::Notes,
};

/// The messages of a breakdown.
pub(in crate::service) type BreakdownStream = MessageStream<GetCostBreakdownResponse>;

impl Part for GetCostBreakdownResponse {
    type Header = proto::BreakdownHeader;

    fn put_header(&mut self, header: Option<Self::Header>) {
        self.header = header;
    }

    fn row_count(&self) -> usize {
        self.rows.len()
    }
}

pub(super) async fn start(breakdown: Breakdown, notes: Notes) -> Result<BreakdownStream, Status> {
    MessageStream::start(breakdown.header().into(), notes, |messages| run(breakdown, messages)).await
}

/// Sends everything, the summary last. Returns early, without an error, when the client is gone.
async fn run(mut breakdown: Breakdown, mut messages: Messages<GetCostBreakdownResponse>) -> Result<(), ReportError> {
    let header = breakdown.header();
    while let Some(chunk) = messages.wait(breakdown.next()).await? {
        if send_rows(chunk, header, &mut messages).await.is_err() {
            return Ok(());
        }
    }
    let summary = proto::BreakdownSummary {
        row_count: breakdown.row_count().cast_signed(),
        totals: breakdown.totals().map(|month| total(month, header)).collect(),
    };
    // The client may be gone.
    let _ = messages.send(GetCostBreakdownResponse { summary: Some(summary), ..Default::default() }).await;
    Ok(())
}

async fn send_rows(
    chunk: BreakdownChunk,
    header: BreakdownHeader,
    messages: &mut Messages<GetCostBreakdownResponse>,
) -> Result<(), Closed> {
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
            messages.send(std::mem::take(&mut message)).await?;
            bytes = 0;
        }
    }
    if message.rows.is_empty() { Ok(()) } else { messages.send(message).await }
}

/// What the rows of a month add up to.
fn total((month, cost): (Month, &BigDecimal), header: BreakdownHeader) -> proto::BreakdownTotal {
    proto::BreakdownTotal {
        month: Some(month.into()),
        currency: header.currency.code().to_owned(),
        cost: cost.to_plain_string(),
    }
}
