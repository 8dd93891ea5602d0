//! Tables, CSV and JSON for the client commands.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::CommandError;
use crate::{contract::proto, model::UtcTime};

/// A table. Numbers are aligned to the right.
pub(super) struct Rows {
    pub(super) headers: Vec<&'static str>,
    /// The positions of columns with numbers.
    pub(super) numbers: Vec<usize>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn print_table(&self) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(&self.headers);
        for row in &self.rows {
            // One line per row, even if a name contains line breaks.
            table.add_row(row.iter().map(|cell| printable(cell)));
        }
        for &column in &self.numbers {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut out = io::stdout().lock();
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    pub(super) fn print_csv(&self) -> Result<(), CommandError> {
        let mut out = csv::Writer::from_writer(io::stdout().lock());
        out.write_record(&self.headers).map_err(io::Error::from)?;
        for row in &self.rows {
            out.write_record(row).map_err(io::Error::from)?;
        }
        out.flush()?;
        Ok(())
    }
}

pub(super) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{value:#}")
}

/// Replaces control characters, which could move the cursor of a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

pub(super) fn month(month: Option<proto::YearMonth>) -> String {
    month.map(|month| format!("{:04}-{:02}", month.year, month.month)).unwrap_or_default()
}

pub(super) fn time(time: Option<prost_types::Timestamp>) -> String {
    time.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// `null` for an empty text.
pub(super) fn text_or_null(text: String) -> serde_json::Value {
    if text.is_empty() { serde_json::Value::Null } else { text.into() }
}
