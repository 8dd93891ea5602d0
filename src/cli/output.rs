//! Tables, CSV and JSON for the client commands.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};

use crate::{
    contract::{
        CsvFormat,
        proto::{self, BillState},
    },
    model::{BillingRegion, UtcTime, is_deceptive, printable},
};

/// What errors call standard output.
pub(super) const STDOUT: &str = "standard output";

/// Prints a line to standard output, as `println!`, which would panic where that is not possible.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::output::print_lines(&format!("{}\n", format_args!($($part)*))) };
}
pub(super) use say;

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
        let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        print(&lines)
    }

    pub(super) fn print_csv(&self) -> io::Result<()> {
        self.print_csv_part(CsvFormat::default(), true)
    }

    /// To a file or pipe byte by byte as it is; to a terminal without what that would obey.
    pub(super) fn print_csv_part(&self, format: CsvFormat, has_header: bool) -> io::Result<()> {
        let mut text = Vec::new();
        if has_header {
            put_csv_line(self.headers.iter().copied(), format, &mut text);
        }
        for row in &self.rows {
            put_csv_line(row.iter().map(String::as_str), format, &mut text);
        }
        Lines::new(io::stdout()).write_all(&text).map_err(|error| unwritten(&error))
    }
}

/// Appends a line of CSV. Numbers are no formulas, whatever the format says of these.
pub(super) fn put_csv_line<'a>(cells: impl IntoIterator<Item = &'a str>, format: CsvFormat, out: &mut Vec<u8>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        format.write_text(cell, out);
    }
    out.extend_from_slice(format.line_end.as_bytes());
}

/// Prints JSON, in which escapes stand for what a terminal would obey.
pub(super) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print_json_text(&format!("{value:#}\n"))
}

/// The same, of JSON that is written already.
pub(super) fn print_json_text(json: &str) -> io::Result<()> {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_deceptive(character) {
            let mut units = [0; 2];
            text.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(character);
        }
    }
    print(&text)
}

/// A JSON array that is printed element by element: in all, what [`print_json`] prints of it.
#[derive(Default)]
pub(super) struct JsonArray {
    has_elements: bool,
}

impl JsonArray {
    pub(super) fn print(&mut self, element: &serde_json::Value) -> io::Result<()> {
        let before = if self.has_elements { "," } else { "[" };
        self.has_elements = true;
        // Line breaks in strings are escaped.
        print_json_text(&format!("{before}\n  {}", format!("{element:#}").replace('\n', "\n  ")))
    }

    pub(super) fn end(self) -> io::Result<()> {
        print(if self.has_elements { "\n]\n" } else { "[]\n" })
    }
}

/// Writes a text to standard output.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| unwritten(&error))
}

/// Writes lines to standard output, without what a terminal would obey.
pub(super) fn print_lines(text: &str) -> io::Result<()> {
    print(&printable_lines(text))
}

fn unwritten(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{STDOUT}: {error}"))
}

/// Writes lines to standard error, as far as that is possible, and without what a terminal would obey.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

/// What lines of a text are on a terminal.
fn printable_lines(text: &str) -> String {
    let line = |line: &str| match line.strip_suffix('\r') {
        Some(line) => format!("{}\r", printable(line)),
        None => printable(line).into_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Lines of CSV: as they are, but for a terminal.
pub(super) struct Lines<W> {
    out: W,
    is_terminal: bool,
}

impl<W: Write + IsTerminal> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { is_terminal: out.is_terminal(), out }
    }
}

/// Each write has whole lines.
impl<W: Write> Write for Lines<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.is_terminal {
            self.out.write_all(printable_lines(&String::from_utf8_lossy(lines)).as_bytes())?;
        } else {
            self.out.write_all(lines)?;
        }
        self.out.flush()?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

pub(super) fn month(month: Option<proto::YearMonth>) -> String {
    month.map(|month| format!("{:04}-{:02}", month.year, month.month)).unwrap_or_default()
}

/// Some days: a few of many.
pub(super) fn days(days: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = days.iter().take(SHOWN).map(|day| printable(day)).collect::<Vec<_>>().join(", ");
    match days.len() {
        count if count > SHOWN => format!("{shown} and {} days more", count - SHOWN),
        _ => shown,
    }
}

pub(super) fn time(time: Option<prost_types::Timestamp>) -> String {
    time.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

pub(super) fn region(code: i32) -> &'static str {
    BillingRegion::from_code(code).map_or("?", BillingRegion::as_str)
}

/// Whether a month has its final bill.
pub(super) fn bill_state(state: BillState) -> &'static str {
    if state == BillState::Closed { "CLOSED" } else { "OPEN" }
}

/// `null` for an empty text.
pub(super) fn text_or_null(text: String) -> serde_json::Value {
    if text.is_empty() { serde_json::Value::Null } else { text.into() }
}
