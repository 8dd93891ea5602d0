//! Writes reports in the forms that files may have, on a thread of its own.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::{RecordBatch, cast::AsArray as _, types::TimestampMicrosecondType};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use flate2::write::GzEncoder;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as ParquetCompression, Encoding as ParquetEncoding, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
    schema::types::ColumnPath,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    cli::report_form::{Compression, FileFormat, ReportForm},
    model::{Column, UtcTime},
};

/// Pieces that wait for the thread.
const QUEUED_PIECES: usize = 4;
/// A row group of Parquet has whole days, and at least so many records as long as there are more days.
const ROW_GROUP_RECORDS: usize = 16 << 10;
/// It is in memory until it is written, so a large day has several.
const MAX_ROW_GROUP_RECORDS: usize = 1 << 20;
/// Of other columns than those of usage, which may have long texts of each row.
const MAX_ROW_GROUP_ROWS: usize = 1 << 17;
/// Dictionaries and differences leave little to compress.
const ZSTD_LEVEL: i32 = 1;

/// A part of a report.
pub(super) enum Piece {
    Lines(Vec<u8>),
    Batch(RecordBatch),
}

/// Passes pieces to the thread.
pub(super) struct Encoding<W> {
    pieces: mpsc::Sender<Option<Piece>>,
    thread: JoinHandle<(Option<W>, io::Result<()>)>,
}

enum Encoder<W: Write + Send> {
    Plain(Shared<W>),
    Gzip(GzEncoder<Shared<W>>),
    Zstd(zstd::stream::write::Encoder<'static, Shared<W>>),
    Parquet(Box<ParquetFile<Shared<W>>>),
    Arrow(Box<StreamWriter<Shared<W>>>),
}

/// An output that is still there when its encoder is not.
struct Shared<W> {
    out: Arc<Mutex<W>>,
    /// Encoders may write an end when they are dropped.
    is_closed: bool,
}

/// A file of Parquet. Where it is of usage, its row groups end with days, so that readers of some days skip the others.
struct ParquetFile<W: Write + Send> {
    writer: ArrowWriter<W>,
    /// The column that tells the day.
    starts: Option<usize>,
    /// Of the record before.
    day: Option<i32>,
}

// === impl Encoding ===

impl<W: Write + Send + 'static> Encoding<W> {
    /// `schema`: of batches, in forms that have some.
    pub(super) fn start(form: ReportForm, schema: Option<SchemaRef>, out: W) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<Option<Piece>>(QUEUED_PIECES);
        let thread = tokio::task::spawn_blocking(move || {
            let out = Arc::new(Mutex::new(out));
            let written =
                encode(form, schema.as_deref(), Shared { out: Arc::clone(&out), is_closed: false }, &mut waiting);
            // The encoder is gone.
            let out = Arc::into_inner(out).map(|out| out.into_inner().unwrap_or_else(PoisonError::into_inner));
            (out, written)
        });
        Self { pieces, thread }
    }

    /// `false`: the thread has failed, and [`finish`](Self::finish) says why.
    pub(super) async fn write(&self, piece: Piece) -> bool {
        self.pieces.send(Some(piece)).await.is_ok()
    }

    /// Ends the file if its report `is_whole`, and returns what was written to.
    pub(super) async fn finish(self, is_whole: bool) -> io::Result<(W, io::Result<()>)> {
        if is_whole {
            // It fails when the thread has failed.
            let _ = self.pieces.send(None).await;
        }
        drop(self.pieces);
        let (out, written) = self.thread.await.map_err(io::Error::other)?;
        Ok((out.ok_or_else(|| io::Error::other("the output is still in use"))?, written))
    }
}

/// Writes pieces to the end of the report. Where it is not whole, it must not look as if it were.
fn encode<W: Write + Send>(
    form: ReportForm,
    schema: Option<&Schema>,
    out: Shared<W>,
    waiting: &mut mpsc::Receiver<Option<Piece>>,
) -> io::Result<()> {
    let mut encoder = Encoder::new(form, schema, out)?;
    while let Some(piece) = waiting.blocking_recv() {
        let Some(piece) = piece else { return encoder.finish() };
        encoder.write(piece)?;
    }
    encoder.give_up()
}

// === impl Shared ===

impl<W> Shared<W> {
    /// Nothing is written from now on.
    fn close(&mut self) {
        self.is_closed = true;
    }
}

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        self.out.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

// === impl Encoder ===

impl<W: Write + Send> Encoder<W> {
    fn new(form: ReportForm, schema: Option<&Schema>, out: Shared<W>) -> io::Result<Self> {
        let schema = || schema.ok_or_else(|| io::Error::other("columns without a schema"));
        Ok(match (form.format, form.compression) {
            (FileFormat::Parquet, _) => Self::Parquet(Box::new(ParquetFile::new(schema()?, out)?)),
            (FileFormat::Arrow, _) => Self::Arrow(Box::new(StreamWriter::try_new(out, schema()?).map_err(of_arrow)?)),
            (_, Compression::None) => Self::Plain(out),
            (_, Compression::Gzip) => Self::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            (_, Compression::Zstd) => Self::Zstd(zstd::stream::write::Encoder::new(out, 0)?),
        })
    }

    fn write(&mut self, piece: Piece) -> io::Result<()> {
        match (self, piece) {
            (Self::Plain(out), Piece::Lines(lines)) => out.write_all(&lines),
            (Self::Gzip(out), Piece::Lines(lines)) => out.write_all(&lines),
            (Self::Zstd(out), Piece::Lines(lines)) => out.write_all(&lines),
            (Self::Parquet(file), Piece::Batch(batch)) => file.write(&batch),
            (Self::Arrow(out), Piece::Batch(batch)) => out.write(&batch).map_err(of_arrow),
            _ => Err(io::Error::other("a piece of another form")),
        }
    }

    /// Leaves it without an end. Readers of a pipe must not take what is there for all.
    fn give_up(self) -> io::Result<()> {
        match self {
            // A stream of Arrow may end behind any message, but not behind the mark of one.
            Self::Arrow(mut out) => out.get_mut().write_all(&[0xff; 4]).and_then(|()| out.flush().map_err(of_arrow)),
            Self::Gzip(mut out) => {
                out.get_mut().close();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
            Self::Zstd(out) => out.finish()?.flush(),
            Self::Parquet(mut file) => file.writer.finish().map(drop).map_err(of_parquet),
            Self::Arrow(mut out) => out.finish().and_then(|()| out.flush()).map_err(of_arrow),
        }
    }
}

// === impl ParquetFile ===

impl<W: Write + Send> ParquetFile<W> {
    fn new(schema: &Schema, out: W) -> io::Result<Self> {
        let metadata = schema.metadata().iter();
        let metadata = metadata.map(|(name, value)| KeyValue::new(name.clone(), value.clone())).collect();
        let starts = schema.index_of(Column::Start.name()).ok();
        let max_rows = if starts.is_some() { MAX_ROW_GROUP_RECORDS } else { MAX_ROW_GROUP_ROWS };
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(of_parquet)?;
        let properties = WriterProperties::builder()
            .set_compression(ParquetCompression::ZSTD(level))
            .set_max_row_group_row_count(Some(max_rows))
            .set_created_by(concat!("secure-connect-reports ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(metadata));
        // Numbers repeat little, or in long runs: looking for each among those before costs more than it saves.
        let properties = [Column::Start, Column::End].iter().fold(properties, |properties, column| {
            let path = ColumnPath::from(column.name());
            properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, ParquetEncoding::DELTA_BINARY_PACKED)
        });
        let properties =
            properties.set_column_dictionary_enabled(ColumnPath::from(Column::Quantity.name()), false).build();
        let writer = ArrowWriter::try_new(out, schema.clone().into(), Some(properties)).map_err(of_parquet)?;
        Ok(Self { writer, starts, day: None })
    }

    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let Some(starts) = self.starts else { return self.writer.write(batch).map_err(of_parquet) };
        let starts = batch.column(starts).as_primitive::<TimestampMicrosecondType>();
        let day = |row: usize| UtcTime::from_unix_micros(starts.value(row)).map(UtcTime::day_number);
        let mut first = 0;
        while first < starts.len() {
            let of_day = (first..starts.len()).take_while(|&row| day(row) == day(first)).count();
            if self.day != day(first) && self.writer.in_progress_rows() >= ROW_GROUP_RECORDS {
                self.writer.flush().map_err(of_parquet)?;
            }
            self.day = day(first);
            self.writer.write(&batch.slice(first, of_day)).map_err(of_parquet)?;
            first += of_day;
        }
        Ok(())
    }
}

fn of_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}

fn of_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}
