//! The report as CSV: how a record becomes a line.

use std::io::{self, Write};

use crate::model::{Column, UsageRecord, Value};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// LF, the default of the report.
    #[default]
    Lf,
    /// CR LF, as in RFC 4180.
    Crlf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CsvFormat {
    pub line_end: LineEnd,
    /// Puts a `'` before texts that a spreadsheet would run as a formula (OWASP ASVS 1.2.10, and OWASP's page on CSV
    /// injection).
    pub neutralize_formulas: bool,
    /// Begins the file with a byte order mark, by which Excel recognizes UTF-8.
    pub byte_order_mark: bool,
}

/// Writes records as CSV: UTF-8, quoted by RFC 4180 where needed.
pub struct CsvWriter<W: Write> {
    out: csv::Writer<W>,
    format: CsvFormat,
    columns: &'static [Column],
    /// The current field. The buffer is reused.
    field: Vec<u8>,
}

// === impl LineEnd ===

impl LineEnd {
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
        }
    }
}

// === impl CsvFormat ===

impl CsvFormat {
    /// Appends a free text as [`CsvWriter`] writes it, for callers that build lines themselves.
    pub fn write_text(self, text: &str, out: &mut Vec<u8>) {
        let quoted = text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
        if quoted {
            out.push(b'"');
        }
        if self.neutralize_formulas && runs_as_formula(text) {
            out.push(b'\'');
        }
        if quoted {
            for (index, part) in text.split('"').enumerate() {
                if index > 0 {
                    out.extend_from_slice(b"\"\"");
                }
                out.extend_from_slice(part.as_bytes());
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

// === impl CsvWriter ===

impl<W: Write> CsvWriter<W> {
    /// Writes to `out`, which needs no buffer of its own.
    pub fn new(out: W, format: CsvFormat) -> Self {
        const ALL: &[Column] = &Column::ALL;
        Self::of_columns(out, format, ALL)
    }

    /// Writes these columns only, which must be the first ones of the report.
    pub(crate) fn of_columns(out: W, format: CsvFormat, columns: &'static [Column]) -> Self {
        let terminator = match format.line_end {
            LineEnd::Lf => csv::Terminator::Any(b'\n'),
            LineEnd::Crlf => csv::Terminator::CRLF,
        };
        let out = csv::WriterBuilder::new().terminator(terminator).buffer_capacity(64 << 10).from_writer(out);
        Self { out, format, columns, field: Vec::new() }
    }

    /// Writes the header line, after a byte order mark if the format has one.
    pub fn write_header(&mut self) -> io::Result<()> {
        let mark = if self.format.byte_order_mark { "\u{feff}" } else { "" };
        let Some((first, others)) = self.columns.split_first() else { return Ok(()) };
        let first = first.name();
        self.out.write_field(format!("{mark}{first}")).map_err(io::Error::from)?;
        self.out.write_record(others.iter().map(|column| column.name())).map_err(io::Error::from)
    }

    pub fn write(&mut self, record: &UsageRecord) -> io::Result<()> {
        self.write_values(&record.values())
    }

    /// Writes a record by the values of its columns.
    pub(crate) fn write_values(&mut self, values: &[Value<'_>; Column::COUNT]) -> io::Result<()> {
        for value in &values[..self.columns.len()] {
            let is_formula =
                matches!(value, Value::Text(text) if self.format.neutralize_formulas && runs_as_formula(text));
            if !is_formula && let Some(text) = value.as_text() {
                self.out.write_field(text).map_err(io::Error::from)?;
                continue;
            }
            self.field.clear();
            if is_formula {
                self.field.push(b'\'');
            }
            value.write_to(&mut self.field);
            self.out.write_field(&self.field).map_err(io::Error::from)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(io::Error::from)
    }

    /// Flushes to the inner writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Flushes, and returns the inner writer.
    pub fn into_inner(self) -> io::Result<W> {
        self.out.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Whether a spreadsheet would take a text for a formula: those of OWASP's list, full-width forms among them. A number with
/// a sign is none.
fn runs_as_formula(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    match first {
        '=' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}' => true,
        '+' | '-' => {
            let is_number = text.parse::<f64>().is_ok() && text.bytes().all(|byte| b"+-.eE0123456789".contains(&byte));
            !is_number
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_told_from_numbers() {
        for text in [
            "=1+1",
            "+cmd",
            "-cmd|x",
            "@SUM(A1)",
            "\tx",
            "\rx",
            "\nx",
            "-1-1",
            "-inf",
            "+nan",
            "-",
            "\u{ff1d}1+1",
            "\u{ff0b}1",
            "\u{ff0d}1",
            "\u{ff20}SUM(A1)",
        ] {
            assert!(runs_as_formula(text), "{text:?}");
        }
        for text in ["", "x=1", "-12.5", "+3", "-1.5e+3", "東京", "'=x", " =x"] {
            assert!(!runs_as_formula(text), "{text:?}");
        }
    }
}
