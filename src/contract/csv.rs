//! The report as CSV: how a record becomes a line.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use crate::model::{Columns, Platform, UsageRecord};

/// Where lines end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// LF: the report's own.
    #[default]
    Lf,
    /// CR LF: as RFC 4180 has it.
    Crlf,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct CsvFormat {
    /// Where lines end.
    pub line_end: LineEnd,
    /// Puts a `'` before texts that a spreadsheet would run as a formula (OWASP ASVS 1.2.10, and OWASP's page on CSV
    /// injection).
    pub neutralize_formulas: bool,
    /// Begins the file with UTF-8's byte order mark, by which Excel knows UTF-8.
    pub byte_order_mark: bool,
}

/// Writes records as CSV: UTF-8, quoted by RFC 4180 where needed.
pub struct CsvWriter<W: Write> {
    out: csv::Writer<W>,
    format: CsvFormat,
    /// The text of the field at hand, kept to spare allocations.
    field: String,
}

// === impl LineEnd ===

impl LineEnd {
    /// As it is written.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
        }
    }
}

// === impl CsvFormat ===

impl CsvFormat {
    /// Adds a free text as [`CsvWriter`] writes it, for those who put lines together themselves.
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
    /// Writes to `out`, which needs no buffer of its own. Nothing is written until the first line is.
    pub fn new(out: W, format: CsvFormat) -> Self {
        let terminator = match format.line_end {
            LineEnd::Lf => csv::Terminator::Any(b'\n'),
            LineEnd::Crlf => csv::Terminator::CRLF,
        };
        let out = csv::WriterBuilder::new().terminator(terminator).buffer_capacity(64 << 10).from_writer(out);
        Self { out, format, field: String::new() }
    }

    /// Writes the header line, with what the file begins with.
    pub fn write_header(&mut self) -> io::Result<()> {
        let [first, others @ ..] = Columns::NAMES;
        let mark = if self.format.byte_order_mark { "\u{feff}" } else { "" };
        self.raw(&format!("{mark}{first}"))?;
        self.out.write_record(others).map_err(io::Error::from)
    }

    /// Writes a record as a line.
    pub fn write(&mut self, record: &UsageRecord) -> io::Result<()> {
        self.display(record.organization_id)?;
        self.display(record.tenant_id)?;
        self.text(&record.asset.name)?;
        self.text(&record.asset.id)?;
        self.raw(record.asset.asset_type.as_str())?;
        self.text(&record.meter.name)?;
        self.display(record.meter.id)?;
        self.display(record.start)?;
        self.display(record.end)?;
        self.display(record.quantity)?;
        self.raw(record.billing_region.as_str())?;
        self.raw(record.platform.map_or("", Platform::as_str))?;
        self.raw(if record.trial { "TRUE" } else { "FALSE" })?;
        match record.trial_expiry {
            Some(expiry) => self.display(expiry)?,
            None => self.raw("")?,
        }
        self.out.write_record(None::<&[u8]>).map_err(io::Error::from)
    }

    /// Hands everything to the writer below.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The writer below, after a flush.
    pub fn into_inner(self) -> io::Result<W> {
        self.out.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if !(self.format.neutralize_formulas && runs_as_formula(text)) {
            return self.raw(text);
        }
        self.field.clear();
        self.field.push('\'');
        self.field.push_str(text);
        self.out.write_field(&self.field).map_err(io::Error::from)
    }

    fn display(&mut self, value: impl std::fmt::Display) -> io::Result<()> {
        self.field.clear();
        write!(self.field, "{value}").map_err(io::Error::other)?;
        self.out.write_field(&self.field).map_err(io::Error::from)
    }

    fn raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_field(text).map_err(io::Error::from)
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
