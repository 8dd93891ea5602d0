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

/// How many bytes are handed to the inner writer at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes records as CSV: UTF-8, quoted by RFC 4180 where needed. What is not flushed is lost.
pub struct CsvWriter<W: Write> {
    out: W,
    format: CsvFormat,
    columns: &'static [Column],
    buffer: Vec<u8>,
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
        Self { out, format, columns, buffer: Vec::new() }
    }

    /// Writes the header line, after a byte order mark if the format has one.
    pub fn write_header(&mut self) -> io::Result<()> {
        if self.format.byte_order_mark {
            self.buffer.extend_from_slice("\u{feff}".as_bytes());
        }
        for column in self.columns {
            self.buffer.extend_from_slice(column.name().as_bytes());
            self.buffer.push(b',');
        }
        self.end_line()
    }

    pub fn write(&mut self, record: &UsageRecord) -> io::Result<()> {
        self.write_values(&record.values())
    }

    /// Writes a record by the values of its columns.
    pub(crate) fn write_values(&mut self, values: &[Value<'_>; Column::COUNT]) -> io::Result<()> {
        for value in &values[..self.columns.len()] {
            match value {
                Value::Text(text) => self.format.write_text(text, &mut self.buffer),
                // Nothing else needs quotes.
                value => value.write_to(&mut self.buffer),
            }
            self.buffer.push(b',');
        }
        self.end_line()
    }

    /// Puts the end of a line in the place of the last comma.
    fn end_line(&mut self) -> io::Result<()> {
        self.buffer.pop();
        self.buffer.extend_from_slice(self.format.line_end.as_bytes());
        if self.buffer.len() >= BUFFER_BYTES { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Flushes to the inner writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.out.flush()
    }

    /// Flushes, and returns the inner writer.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.out)
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// By another program's rules, and as it reads them.
        #[test]
        fn texts_are_quoted_as_rfc_4180_has_it(texts in prop::collection::vec("[a\",;\r\n '=é]{0,6}", Column::COUNT), crlf in any::<bool>()) {
            let format = CsvFormat { line_end: if crlf { LineEnd::Crlf } else { LineEnd::Lf }, ..CsvFormat::default() };
            let mut writer = CsvWriter::new(Vec::new(), format);
            let values: Vec<Value<'_>> = texts.iter().map(|text| Value::Text(text)).collect();
            let values: &[Value<'_>; Column::COUNT] = values.as_slice().try_into().expect("as many");
            for _ in 0..2 {
                writer.write_values(values).expect("room");
            }
            let written = writer.into_inner().expect("room");
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut other = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
            for _ in 0..2 {
                other.write_record(&texts).expect("room");
            }
            prop_assert_eq!(&written, &other.into_inner().expect("room"));
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(written.as_slice());
            let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("sound CSV");
            prop_assert_eq!(rows.len(), 2);
            prop_assert!(rows.iter().all(|row| row.iter().eq(texts.iter().map(String::as_str))));
        }
    }

    #[test]
    fn long_outputs_are_handed_over_in_parts_and_none_is_lost() {
        let text = "x".repeat(BUFFER_BYTES / 3);
        let mut values = [Value::Unset; Column::COUNT];
        values[0] = Value::Text(&text);
        let mut writer = CsvWriter::new(Vec::new(), CsvFormat::default());
        for lines in 1..=7 {
            writer.write_values(&values).expect("room");
            assert_eq!(writer.out.len(), lines / 3 * 3 * (text.len() + Column::COUNT), "{lines}");
        }
        assert_eq!(writer.into_inner().expect("room").len(), 7 * (text.len() + Column::COUNT));
    }

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
