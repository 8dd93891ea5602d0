//! Writes reports in the forms that files may have, on a thread of its own.

mod chunk;
mod dictionary;
mod hybrid;
mod parquet;
mod row_group;
mod usage_file;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use ::parquet::arrow::ArrowWriter;
use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use flate2::write::GzEncoder;
use tokio::{sync::mpsc, task::JoinHandle};

use self::{parquet::of_parquet, usage_file::UsageFile};
use crate::{
    cli::{
        report_form::{Compression, FileFormat, ReportForm},
        synced::{Output, Synced},
    },
    client::{UsageBatch, UsageColumns},
};

/// Pieces that wait for the thread.
const QUEUED_PIECES: usize = 16;
/// What a report is made of.
#[derive(Clone)]
pub(super) enum Content {
    Lines,
    Batches(SchemaRef),
    Usage(UsageColumns),
}

/// A part of a report.
pub(super) enum Piece {
    Lines(Vec<u8>),
    Batch(RecordBatch),
    Usage(UsageBatch),
}

/// Passes pieces to the thread.
pub(super) struct Encoding<W> {
    pieces: mpsc::Sender<Option<Piece>>,
    /// Batches to use again.
    spare: mpsc::Receiver<UsageBatch>,
    thread: JoinHandle<(Option<W>, io::Result<()>)>,
}

enum Encoder<W: Write + Send> {
    Plain(Shared<W>),
    Gzip(GzEncoder<Shared<W>>),
    Zstd(zstd::stream::write::Encoder<'static, Shared<W>>),
    Parquet(Box<ArrowWriter<Shared<W>>>),
    UsageFile(Box<UsageFile<Shared<W>>>),
    Arrow(Box<StreamWriter<Shared<W>>>),
}

/// An output that is still there when its encoder is not.
struct Shared<W> {
    out: Arc<Mutex<W>>,
    /// Encoders may write an end when they are dropped.
    is_closed: bool,
}

// === impl Encoding ===

impl<W: Output> Encoding<W> {
    pub(super) fn start(form: ReportForm, content: Content, out: W) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<Option<Piece>>(QUEUED_PIECES);
        let (written, spare) = mpsc::channel(QUEUED_PIECES);
        let thread = tokio::task::spawn_blocking(move || {
            let out = Arc::new(Mutex::new(Synced::new(out)));
            let shared = Shared { out: Arc::clone(&out), is_closed: false };
            let written = encode(form, &content, shared, &mut waiting, &written);
            // The encoder is gone.
            let Some(out) = Arc::into_inner(out) else { return (None, written) };
            let (out, synced) = out.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
            (Some(out), written.and(synced))
        });
        Self { pieces, spare, thread }
    }

    /// A batch that was written, or a new one.
    pub(super) fn spare(&mut self) -> UsageBatch {
        self.spare.try_recv().unwrap_or_default()
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
    content: &Content,
    out: Shared<W>,
    waiting: &mut mpsc::Receiver<Option<Piece>>,
    written: &mpsc::Sender<UsageBatch>,
) -> io::Result<()> {
    let mut encoder = Encoder::new(form, content, out)?;
    while let Some(piece) = waiting.blocking_recv() {
        let Some(piece) = piece else { return encoder.finish() };
        encoder.write(&piece)?;
        if let Piece::Usage(batch) = piece {
            // Dropped if there are enough of them.
            let _ = written.try_send(batch);
        }
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
    fn new(form: ReportForm, content: &Content, out: Shared<W>) -> io::Result<Self> {
        Ok(match (form.format, content) {
            (FileFormat::Parquet, Content::Batches(schema)) => Self::Parquet(Box::new(parquet::table(schema, out)?)),
            (FileFormat::Parquet, Content::Usage(columns)) => Self::UsageFile(Box::new(UsageFile::new(columns, out)?)),
            (FileFormat::Arrow, Content::Batches(schema)) => {
                Self::Arrow(Box::new(StreamWriter::try_new(out, schema).map_err(of_arrow)?))
            }
            (FileFormat::Csv | FileFormat::Jsonl, Content::Lines) => Self::of_lines(form.compression, out)?,
            _ => return Err(io::Error::other("content of another form")),
        })
    }

    fn of_lines(compression: Compression, out: Shared<W>) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(out),
            Compression::Gzip => Self::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Compression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(out, 0)?),
        })
    }

    fn write(&mut self, piece: &Piece) -> io::Result<()> {
        match (self, piece) {
            (Self::Plain(out), Piece::Lines(lines)) => out.write_all(lines),
            (Self::Gzip(out), Piece::Lines(lines)) => out.write_all(lines),
            (Self::Zstd(out), Piece::Lines(lines)) => out.write_all(lines),
            (Self::Parquet(file), Piece::Batch(batch)) => file.write(batch).map_err(of_parquet),
            (Self::UsageFile(file), Piece::Usage(batch)) => file.write(batch),
            (Self::Arrow(out), Piece::Batch(batch)) => out.write(batch).map_err(of_arrow),
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
            Self::Parquet(mut file) => file.finish().map(drop).map_err(of_parquet),
            Self::UsageFile(file) => file.finish(),
            Self::Arrow(mut out) => out.finish().and_then(|()| out.flush()).map_err(of_arrow),
        }
    }
}

fn of_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}
