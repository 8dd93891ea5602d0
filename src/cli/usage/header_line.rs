//! The first line of CSV.

use std::io;

use crate::contract::{CsvFormat, CsvWriter};

/// Writes the header line.
pub(super) fn write_names(out: &mut impl io::Write, format: CsvFormat) -> io::Result<()> {
    let mut csv = CsvWriter::new(out, format);
    csv.write_header()?;
    csv.flush()
}
