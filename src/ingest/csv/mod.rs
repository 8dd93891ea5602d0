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

use super::{Intake, Progress};
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

pub(super) fn read(input: &Input, intake: &mut Intake) -> Result<(), ReadError> {
    let Envelope { text, encoding } = envelope::open(input.open(intake.progress())?)?;
    let mut rows = Rows::new(text);
    let columns = match Columns::read(&mut rows, encoding)? {
        Header::Columns(columns) => columns,
        Header::Refused(problems) => {
            for (line, column, value, reason) in problems {
                intake.refuse(line, column, &value, &reason);
            }
            return Ok(());
        }
    };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(RowError::Io(error)) => return Err(error.into()),
            Err(RowError::TooLong { line }) => {
                intake.refuse(line, "", "", &"the row is longer than 1 MiB");
                continue;
            }
            Err(RowError::Quoting { line, field, value, fault }) => {
                intake.refuse(line, columns.name_of(field), &value, &fault);
                continue;
            }
        };
        match columns.record(&row) {
            RowContent::Record(raw) => intake.add_texts(row.line, &raw)?,
            RowContent::Skipped => {}
            RowContent::Problem { column, value, reason } => intake.refuse(row.line, column, &value, &reason),
        }
    }
}
