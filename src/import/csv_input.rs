//! Usage as CSV: the report's own format, plain or compressed.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use super::{Intake, Progress, RawRecord, UsageProblem};
use crate::model::Columns;

const BUFFER_BYTES: usize = 256 << 10;
/// The library reads fields of any length; no sound row comes near this.
const MAX_ROW_BYTES: usize = 1 << 20;
const COLUMN_COUNT: usize = Columns::NAMES.len();

/// Where CSV comes from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file; its name's ending `.gz` or `.zst` says how it is compressed.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// Counts the bytes that pass.
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

/// Ends the input when a row goes on for ever, as it does after a quote that is not closed: memory stays bounded.
struct Bounded<R> {
    inner: R,
    /// Bytes read since the last row was complete, read-ahead included.
    since_row: Rc<Cell<usize>>,
}

/// What [`Bounded`] ends the input with.
#[derive(Debug, thiserror::Error)]
#[error("the row is longer than 1 MiB: is a quote not closed?")]
struct RowTooLong;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_row.get() > MAX_ROW_BYTES + BUFFER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, RowTooLong));
        }
        let count = self.inner.read(buffer)?;
        self.since_row.set(self.since_row.get() + count);
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

    /// How many bytes there are to read, where that is known.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::File(path) => path.metadata().ok().map(|metadata| metadata.len()),
            Self::Stdin => None,
        }
    }

    fn open(&self, progress: Arc<Progress>) -> io::Result<Box<dyn Read>> {
        let path = match self {
            Self::File(path) => path,
            Self::Stdin => return Ok(Box::new(Counted { inner: io::stdin().lock(), progress })),
        };
        let file = BufReader::with_capacity(BUFFER_BYTES, Counted { inner: File::open(path)?, progress });
        Ok(match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Some("zst") => Box::new(zstd::Decoder::with_buffer(file)?),
            _ => Box::new(file),
        })
    }
}

/// Reads everything into the intake.
pub(super) fn read(input: &Input, mut intake: Intake) -> io::Result<Intake> {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, input.open(Arc::clone(&intake.progress))?);
    // Spreadsheets mark UTF-8 by this.
    if bytes.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        bytes.consume("\u{feff}".len());
    }
    let since_row = Rc::new(Cell::new(0));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(Bounded { inner: bytes, since_row: Rc::clone(&since_row) });
    let mut record = csv::ByteRecord::new();
    let mut next = |record: &mut csv::ByteRecord, intake: &mut Intake| {
        let place = reader.position().line();
        let found = reader.read_byte_record(record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            // Bytes in any number of fields are a record, so nothing else can be wrong.
            other => io::Error::other(format!("{other:?}")),
        });
        since_row.set(0);
        match found {
            Err(error) if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<RowTooLong>) => {
                intake.refuse(UsageProblem::new(place, "", "", RowTooLong));
                Ok(false)
            }
            found => found,
        }
    };
    if !next(&mut record, &mut intake)? {
        intake.refuse(UsageProblem::new(1, "", "", "the file is empty; the first line must name the columns"));
        return Ok(intake);
    }
    let Some(positions) = columns(&record, &mut intake) else { return Ok(intake) };
    while next(&mut record, &mut intake)? {
        let line = record.position().map_or(0, csv::Position::line);
        if let Some(raw) = fields(&record, &positions, line, &mut intake) {
            intake.add(line, &raw)?;
        }
    }
    Ok(intake)
}

/// Where each column of the report is in the file.
fn columns(header: &csv::ByteRecord, intake: &mut Intake) -> Option<[usize; COLUMN_COUNT]> {
    let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
    let mut sound = true;
    for (index, name) in names.iter().enumerate() {
        let reason = if !Columns::NAMES.contains(&name.as_ref()) {
            "is no column of the report; take it out"
        } else if names[..index].contains(name) {
            "is there twice"
        } else {
            continue;
        };
        intake.refuse(UsageProblem::new(1, "", name, reason));
        sound = false;
    }
    let mut positions = [0; COLUMN_COUNT];
    for (position, column) in positions.iter_mut().zip(Columns::NAMES) {
        if let Some(found) = names.iter().position(|name| name == column) {
            *position = found;
        } else {
            intake.refuse(UsageProblem::new(1, column, "", "the column is missing"));
            sound = false;
        }
    }
    sound.then_some(positions)
}

/// The row's fields in the report's order.
fn fields<'r>(
    record: &'r csv::ByteRecord,
    positions: &[usize; COLUMN_COUNT],
    line: u64,
    intake: &mut Intake,
) -> Option<RawRecord<'r>> {
    if record.len() != COLUMN_COUNT {
        let reason = format!("the row has {} fields; the header has {COLUMN_COUNT}", record.len());
        intake.refuse(UsageProblem::new(line, "", "", reason));
        return None;
    }
    if record.as_slice().len() > MAX_ROW_BYTES {
        intake.refuse(UsageProblem::new(line, "", "", RowTooLong));
        return None;
    }
    let mut raw = [""; COLUMN_COUNT];
    for ((field, &position), column) in raw.iter_mut().zip(positions).zip(Columns::NAMES) {
        let bytes = &record[position];
        match std::str::from_utf8(bytes) {
            Ok(text) => *field = text,
            Err(_) => {
                let shown = String::from_utf8_lossy(bytes);
                intake.refuse(UsageProblem::new(line, column, &shown, "is not UTF-8; save the file as UTF-8"));
                return None;
            }
        }
    }
    Some(raw)
}
