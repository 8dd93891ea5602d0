//! The header line: maps the fields of a row to the columns of the report.

use std::io::Read;

use super::{
    ReadError, UnsupportedFormat,
    envelope::Encoding,
    rows::{Row, RowError, Rows},
};
use crate::{ingest::row::RawRecord, model::Column};

const COUNT: usize = Column::COUNT;
/// The length of a GUID. Every column name is shorter.
const GUID_BYTES: usize = 36;

pub(super) struct Columns {
    /// The index of the field of each column.
    positions: [usize; COUNT],
    /// The minimum number of fields of a row.
    width: usize,
    /// The number of fields of the header, including those without a name.
    header_width: usize,
    /// Whether rows of this width have no fields besides the columns.
    is_plain: bool,
    encoding: Encoding,
}

/// The result of reading the header.
pub(super) enum Header {
    Columns(Columns),
    /// Line, column, value and reason of each problem.
    Refused(Vec<(u64, &'static str, String, String)>),
}

/// The content of a row.
pub(super) enum RowContent<'a> {
    Record(RawRecord<'a>),
    /// A row without usage: blank, or a repeated header.
    Skipped,
    Problem {
        column: &'static str,
        value: String,
        reason: String,
    },
}

// === impl Columns ===

impl Columns {
    /// Reads the header line, and skips `sep=` and blank lines before it.
    pub(super) fn read(rows: &mut Rows<impl Read>, encoding: Encoding) -> Result<Header, ReadError> {
        // Spreadsheet programs name their delimiter in a line `sep=;`.
        let mut separator = None;
        loop {
            let Some(line) = rows.peek_line()? else {
                return Ok(Header::refused(1, "", "", "the file is empty; the first line must name the columns"));
            };
            match line {
                [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', byte] => separator = Some(*byte),
                line if line.iter().all(|byte| b" \t,;".contains(byte)) => {}
                line => {
                    let found = delimiter(line).or(separator).unwrap_or(b',');
                    rows.set_delimiter(accepted(found, encoding)?);
                    break;
                }
            }
            rows.skip_line()?;
        }
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => {
                return Ok(Header::refused(1, "", "", "the file is empty; the first line must name the columns"));
            }
            Err(RowError::Io(error)) => return Err(error.into()),
            Err(RowError::TooLong { line }) => {
                return Ok(Header::refused(line, "", "", "the line that must name the columns is longer than 1 MiB"));
            }
            Err(RowError::Quoting { line, value, fault, .. }) => {
                return Ok(Header::refused(line, "", &value, &fault.to_string()));
            }
        };
        Ok(Self::of_header(&row, encoding))
    }

    fn of_header(row: &Row<'_>, encoding: Encoding) -> Header {
        let names: Vec<String> =
            (0..row.len()).map(|index| String::from_utf8_lossy(row.field(index)).trim().to_owned()).collect();
        let known: Vec<Option<usize>> = names.iter().map(|name| column_of(name)).collect();
        if known.iter().all(Option::is_none) {
            let line = names.join(",");
            return Header::refused(
                row.line,
                "",
                &line,
                "no field of this line is a column of the report; the first line must name the columns",
            );
        }
        let found: Vec<&str> = known.iter().flatten().map(|&column| Column::NAMES[column]).collect();
        if found.len() * 2 < COUNT {
            let reason = format!("this is another report: of the {COUNT} columns, it has only {}", found.join(", "));
            return Header::refused(row.line, "", "", &reason);
        }
        let mut problems = Vec::new();
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let reason = if known[index].is_none() {
                "is not a column of the report; remove it"
            } else if known[..index].contains(&known[index]) {
                "occurs twice; remove one of them"
            } else {
                continue;
            };
            problems.push((row.line, "", name.clone(), reason.to_owned()));
        }
        let mut positions = [0; COUNT];
        for (column, position) in positions.iter_mut().enumerate() {
            match known.iter().position(|known| *known == Some(column)) {
                Some(found) => *position = found,
                None => {
                    problems.push((row.line, Column::NAMES[column], String::new(), "the column is missing".to_owned()));
                }
            }
        }
        if !problems.is_empty() {
            return Header::Refused(problems);
        }
        let width = known.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Header::Columns(Self { positions, width, header_width: names.len(), is_plain: width == COUNT, encoding })
    }

    pub(super) fn name_of(&self, field: usize) -> &'static str {
        let column = self.positions.iter().position(|&position| position == field);
        column.map_or("", |column| Column::NAMES[column])
    }

    /// Reads a row, with its fields in the report's order.
    pub(super) fn record<'r>(&self, row: &Row<'r>) -> RowContent<'r> {
        if row.len() != self.width || !self.is_plain {
            if row.is_blank() || is_separator_line(row) {
                return RowContent::Skipped;
            }
            if let Some(problem) = self.check_width(row) {
                return problem;
            }
        }
        let Some(texts) = row.texts() else { return self.invalid_text(row) };
        let record = self.positions.map(&texts);
        // Only rows without a valid organization id need these checks.
        if record[Column::OrganizationId.index()].len() != GUID_BYTES {
            if row.is_blank() {
                return RowContent::Skipped;
            }
            if let Some(found) = self.repeated_header(&record) {
                return found;
            }
        }
        RowContent::Record(record)
    }

    /// Fields outside the columns must be empty: spreadsheets append commas.
    fn check_width<'r>(&self, row: &Row<'r>) -> Option<RowContent<'r>> {
        let problem = |column, value: &[u8], reason: String| {
            Some(RowContent::Problem { column, value: String::from_utf8_lossy(value).into_owned(), reason })
        };
        let (fields, width) = (row.len(), self.width);
        if fields < width {
            return problem("", b"", format!("the row has {fields} fields; the header has {width}"));
        }
        let stray =
            (0..fields).find(|index| !self.positions.contains(index) && !row.field(*index).trim_ascii().is_empty())?;
        if stray >= self.header_width {
            let hint = "put quotes around texts that contain a comma";
            return problem("", b"", format!("the row has {fields} fields; the header has {width}; {hint}"));
        }
        problem("", row.field(stray), format!("this value is in column {}, which has no name in the header", stray + 1))
    }

    /// Concatenated files repeat the header.
    fn repeated_header<'r>(&self, record: &RawRecord<'r>) -> Option<RowContent<'r>> {
        let mut names = record.iter().map(|text| column_of(text.trim()));
        if names.clone().eq((0..COUNT).map(Some)) {
            return Some(RowContent::Skipped);
        }
        names.all(|name| name.is_some()).then(|| RowContent::Problem {
            column: "",
            value: String::new(),
            reason: "this header has its columns in another order than the first one: import the original files \
                 instead of the concatenated one"
                .to_owned(),
        })
    }

    fn invalid_text<'r>(&self, row: &Row<'r>) -> RowContent<'r> {
        let is_wrong = |field: &usize| std::str::from_utf8(row.field(*field)).is_err();
        let field = (0..row.len()).find(is_wrong).unwrap_or_default();
        let value = String::from_utf8_lossy(row.field(field)).into_owned();
        RowContent::Problem { column: self.name_of(field), value, reason: self.encoding.fault().to_owned() }
    }
}

// === impl Header ===

impl Header {
    fn refused(line: u64, column: &'static str, value: &str, reason: &str) -> Self {
        Self::Refused(vec![(line, column, value.to_owned(), reason.to_owned())])
    }
}

/// The column that a header names, whatever its case and whatever is between its words. A mark of Unicode is what is left
/// of a file's beginning.
fn column_of(name: &str) -> Option<usize> {
    let name = name.trim_start_matches('\u{feff}');
    let letters = || name.chars().filter(|character| !matches!(character, ' ' | '_' | '-'));
    let lower = |character: char| character.to_ascii_lowercase();
    Column::NAMES.iter().position(|column| column.chars().map(lower).eq(letters().map(lower)))
}

/// The delimiter of the header, if it can be recognized.
fn delimiter(line: &[u8]) -> Option<u8> {
    let text = String::from_utf8_lossy(line);
    b",;\t|".iter().copied().find(|&byte| {
        let names = text.split(char::from(byte)).map(|name| name.trim().trim_matches('"').trim());
        names.filter(|name| column_of(name).is_some()).count() > 1
    })
}

/// Commas, and the tabs of what Excel calls Unicode text. Decimals of a file with semicolons have commas in them: it is not
/// for us to guess which is which.
fn accepted(delimiter: u8, encoding: Encoding) -> Result<u8, UnsupportedFormat> {
    match delimiter {
        b',' => Ok(b','),
        b'\t' if encoding == Encoding::Utf16 => Ok(b'\t'),
        b'\t' => Err(UnsupportedFormat::Separator("tabs")),
        b';' => Err(UnsupportedFormat::Separator("semicolons")),
        b'|' => Err(UnsupportedFormat::Separator("vertical bars")),
        _ => Err(UnsupportedFormat::Separator("the character that its first line names")),
    }
}

/// A `sep=,` line between concatenated files.
fn is_separator_line(row: &Row<'_>) -> bool {
    let mark = "\u{feff}".as_bytes();
    row.len() == 2 && {
        let first = row.field(0);
        first.strip_prefix(mark).unwrap_or(first).eq_ignore_ascii_case(b"sep=") && row.field(1).is_empty()
    }
}
