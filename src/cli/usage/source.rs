//! A report that is being downloaded, in pieces of the form that it is written in.

use super::header_line::write_names;
use crate::{
    cli::{
        encoder::{Content, Piece},
        report_form::{FileFormat, ReportForm},
    },
    client::{
        BatchesDownload, Client, ClientError, ColumnsDownload, CsvDownload, UsageBatch, UsageDownload, UsageQuery,
    },
    contract::{CsvFormat, proto::ReportHeader},
    model::{Column, UsageRecord, Value},
};

/// Lines are handed on when at least this much is there.
const PIECE_BYTES: usize = 256 << 10;

pub(super) enum Source {
    /// With the header line, until it is handed on.
    Csv(Box<CsvDownload>, Vec<u8>),
    Json(Box<UsageDownload>),
    Columns(Box<ColumnsDownload>),
    Batches(Box<BatchesDownload>),
}

// === impl Source ===

impl Source {
    pub(super) async fn start(
        client: &mut Client,
        query: &UsageQuery,
        form: ReportForm,
        csv: CsvFormat,
    ) -> Result<Self, ClientError> {
        Ok(match form.format {
            FileFormat::Csv => {
                let mut names = Vec::new();
                let download = client.detailed_usage_csv(query, csv).await?;
                // Writing to memory does not fail.
                let _ = write_names(&mut names, csv);
                Self::Csv(Box::new(download), names)
            }
            FileFormat::Jsonl => Self::Json(Box::new(client.detailed_usage(query).await?)),
            FileFormat::Parquet => Self::Batches(Box::new(client.detailed_usage_batches(query).await?)),
            FileFormat::Arrow => Self::Columns(Box::new(client.detailed_usage_columns(query).await?)),
        })
    }

    pub(super) fn header(&self) -> &ReportHeader {
        match self {
            Self::Csv(download, _) => download.header(),
            Self::Json(download) => download.header(),
            Self::Columns(download) => download.header(),
            Self::Batches(download) => download.header(),
        }
    }

    /// What its pieces are.
    pub(super) fn content(&self) -> Content {
        match self {
            Self::Csv(..) | Self::Json(_) => Content::Lines,
            Self::Columns(download) => Content::Batches(download.schema().clone()),
            Self::Batches(download) => Content::Usage(download.columns().clone()),
        }
    }

    /// The next piece, and how many records it has; `None` when the report is complete. `spare`: a batch that may be used again.
    pub(super) async fn next(&mut self, spare: UsageBatch) -> Result<Option<(u64, Piece)>, ClientError> {
        match self {
            Self::Csv(download, names) => {
                let (mut lines, mut count) = (std::mem::take(names), 0);
                while lines.len() < PIECE_BYTES {
                    let Some(more) = download.next(&mut lines).await? else { break };
                    count += more;
                }
                Ok((!lines.is_empty()).then_some((count, Piece::Lines(lines))))
            }
            Self::Json(download) => {
                let Some(records) = download.next().await? else { return Ok(None) };
                let mut lines = Vec::with_capacity(PIECE_BYTES);
                records.iter().for_each(|record| put_line(record, &mut lines));
                Ok(Some((records.len() as u64, Piece::Lines(lines))))
            }
            Self::Columns(download) => {
                let batch = download.next().await?;
                Ok(batch.map(|batch| (batch.num_rows() as u64, Piece::Batch(batch))))
            }
            Self::Batches(download) => {
                let mut batch = spare;
                let is_there = download.next(&mut batch).await?;
                Ok(is_there.then(|| (batch.records().len() as u64, Piece::Usage(batch))))
            }
        }
    }
}

/// Adds a record as a line of JSON: the columns by their names. Decimals are texts, since many programs read JSON's numbers as
/// floating point.
fn put_line(record: &UsageRecord, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    for (column, value) in Column::ALL.iter().zip(record.values()) {
        out.extend_from_slice(if *column == Column::ALL[0] { b"{\"" } else { b",\"" });
        out.extend_from_slice(column.name().as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Unset => out.extend_from_slice(b"null"),
            Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            value => {
                text.clear();
                value.write_to(&mut text);
                // Writing to memory does not fail.
                let _ = serde_json::to_writer(&mut *out, &String::from_utf8_lossy(&text));
            }
        }
    }
    out.extend_from_slice(b"}\n");
}
