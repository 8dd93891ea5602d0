//! Reads usage as CSV, compressed or not.

mod columns;
mod envelope;
mod gzip;
mod rows;
mod utf16;

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use super::{Progress, lines::Lines};
use columns::{Columns, Header, RowContent};
use envelope::Envelope;
pub use envelope::UnsupportedFormat;
use rows::{RowError, Rows};

/// An input of CSV. Compression is recognized by its first bytes.
#[derive(Clone, Debug)]
pub enum Input {
    File(PathBuf),
    Stdin,
}

/// Reading an input failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    UnsupportedFormat(#[from] UnsupportedFormat),
}

struct Counted<R> {
    inner: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

// === impl Input ===

impl Input {
    /// The file's name, or `-`.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    /// The size in bytes, if it is a regular file.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::File(path) => path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len()),
            Self::Stdin => None,
        }
    }

    fn open(&self, progress: Arc<Progress>) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::File(path) => Box::new(Counted { inner: File::open(path)?, progress }),
            Self::Stdin => Box::new(Counted { inner: io::stdin().lock(), progress }),
        })
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

/// A part of an input.
pub(super) enum Piece {
    Lines(Lines),
    /// A problem of something that is not a row.
    Problem {
        line: u64,
        column: &'static str,
        value: String,
        reason: String,
    },
}

/// Reads an input, and hands over its pieces in order, until one is not wanted any more.
pub(super) fn read(
    input: &Input,
    progress: Arc<Progress>,
    mut send: impl FnMut(Piece) -> bool,
) -> Result<(), ReadError> {
    let Envelope { text, encoding } = envelope::open(input.open(progress)?)?;
    let mut rows = Rows::new(text);
    let columns = match Columns::read(&mut rows, encoding)? {
        Header::Columns(columns) => columns,
        Header::Refused(problems) => {
            for (line, column, value, reason) in problems {
                send(Piece::Problem { line, column, value, reason });
            }
            return Ok(());
        }
    };
    let mut lines = Lines::default();
    loop {
        let problem = match rows.next() {
            Ok(Some(row)) => match columns.record(&row) {
                RowContent::Record(raw) => {
                    lines.push(row.line, &raw);
                    if lines.is_full() && !send(Piece::Lines(std::mem::take(&mut lines))) {
                        return Ok(());
                    }
                    continue;
                }
                RowContent::Skipped => continue,
                RowContent::Problem { column, value, reason } => {
                    Piece::Problem { line: row.line, column, value, reason }
                }
            },
            Ok(None) => {
                send(Piece::Lines(lines));
                return Ok(());
            }
            Err(RowError::Io(error)) => return Err(error.into()),
            Err(RowError::TooLong { line }) => {
                let reason = "the row is longer than 1 MiB".to_owned();
                Piece::Problem { line, column: "", value: String::new(), reason }
            }
            Err(RowError::Quoting { line, field, value, fault }) => {
                Piece::Problem { line, column: columns.name_of(field), value, reason: fault.to_string() }
            }
        };
        // The first problems are shown, so those of the lines before it come first.
        let before = std::mem::take(&mut lines);
        if (!before.is_empty() && !send(Piece::Lines(before))) || !send(problem) {
            return Ok(());
        }
    }
}
