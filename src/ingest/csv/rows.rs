//! Rows of CSV, read strictly: quoted as RFC 4180 has it, or not at all.
//!
//! A library that reads what it can is no help here: a quote that is not closed would swallow the rows behind it without a
//! word. Lines end with LF, CR LF or CR, as editors see them, and are counted so.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter, memchr3};

/// Far above any valid row. It bounds the memory of a quote that is never closed.
const MAX_ROW_BYTES: usize = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// How much of a wrong field errors quote.
const SHOWN_BYTES: usize = 512;

pub(super) struct Rows<R> {
    input: R,
    delimiter: u8,
    buffer: Vec<u8>,
    /// The size of a read.
    chunk_bytes: usize,
    /// The unread part of the buffer is `start..end`.
    start: usize,
    end: usize,
    has_ended: bool,
    /// The line of the next row, from 1.
    line: u64,
    /// The ends of the current row's fields. One byte is between two fields.
    ends: Vec<usize>,
    /// The current row without quotes, if it has any.
    unquoted: Vec<u8>,
}

/// A row, and the line on which it begins.
pub(super) struct Row<'a> {
    pub(super) line: u64,
    bytes: &'a [u8],
    ends: &'a [usize],
}

/// A row cannot be read. Reading continues with the next row, if its beginning is known.
#[derive(Debug)]
pub(super) enum RowError {
    Io(io::Error),
    /// The row that begins on this line is longer than 1 MiB.
    TooLong {
        line: u64,
    },
    /// The field that begins on this line has wrong quotes.
    Quoting {
        line: u64,
        field: usize,
        value: String,
        fault: QuotingFault,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QuotingFault {
    #[error(
        "the quote that begins this field is never closed, so the rest of the file was not read; to write a quote \
         within a field, put the field in quotes and double the quote"
    )]
    Unclosed,
    #[error(
        "text follows the closing quote of this field; to write a quote within a field, put the field in quotes and \
         double the quote"
    )]
    TextAfterQuote,
    #[error("this field contains a quote but is not in quotes; put it in quotes, and double each quote within it")]
    QuoteInText,
}

/// The result of scanning the beginning of a window of the input.
enum Scan {
    /// A row of `text` bytes, which ends with its line end at `length`.
    Row { text: usize, length: usize, is_quoted: bool },
    /// A part of a row. If a quote is still open: the field, and where it begins.
    Part { open_quote: Option<(usize, usize)> },
    /// A fault in the field that begins at `at`.
    Fault { field: usize, at: usize, fault: QuotingFault },
}

// === impl Rows ===

impl<R: Read> Rows<R> {
    pub(super) fn new(input: R) -> Self {
        Self::with_chunks(input, BUFFER_BYTES)
    }

    fn with_chunks(input: R, chunk_bytes: usize) -> Self {
        Self {
            input,
            delimiter: b',',
            buffer: Vec::new(),
            chunk_bytes,
            start: 0,
            end: 0,
            has_ended: false,
            line: 1,
            ends: Vec::new(),
            unquoted: Vec::new(),
        }
    }

    /// Sets the delimiter of the following rows.
    pub(super) fn set_delimiter(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
    }

    /// The next line, without its line end; `None` at the end of the input. A line that is too long for a row is
    /// truncated.
    pub(super) fn peek_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line_from(0)?;
        let window = &self.buffer[self.start..self.end];
        let length = window.iter().position(|&byte| is_line_end(byte)).unwrap_or(window.len());
        Ok((!window.is_empty()).then(|| &window[..length]))
    }

    /// Skips the next line.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        self.start += self.line_from(0)?;
        self.line += 1;
        Ok(())
    }

    /// The length of the rest of a line from this offset, with its line end.
    fn line_from(&mut self, at: usize) -> io::Result<usize> {
        loop {
            let window = &self.buffer[(self.start + at).min(self.end)..self.end];
            let text = window.iter().position(|&byte| is_line_end(byte));
            match text.and_then(|text| line_end(window, text, self.has_ended)) {
                Some(length) => return Ok(length),
                None if self.has_ended || window.len() > MAX_ROW_BYTES => return Ok(window.len()),
                None => self.fill()?,
            }
        }
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, RowError> {
        let (text, length, is_quoted) = loop {
            let window = &self.buffer[self.start..self.end];
            if window.is_empty() && self.has_ended {
                return Ok(None);
            }
            match scan(window, self.has_ended, self.delimiter, &mut self.ends, &mut self.unquoted) {
                Scan::Row { text, length, is_quoted } => break (text, length, is_quoted),
                Scan::Part { open_quote } if window.len() > MAX_ROW_BYTES => {
                    if let Some((field, at)) = open_quote {
                        return Err(self
                            .skip_faulty_line(field, at, QuotingFault::Unclosed)
                            .unwrap_or_else(RowError::Io));
                    }
                    let line = self.line;
                    self.stop_reading();
                    return Err(RowError::TooLong { line });
                }
                Scan::Part { .. } => self.fill().map_err(RowError::Io)?,
                Scan::Fault { field, at, fault } => {
                    return Err(self.skip_faulty_line(field, at, fault).unwrap_or_else(RowError::Io));
                }
            }
        };
        let (line, start) = (self.line, self.start);
        self.start += length;
        self.line += if is_quoted { line_ends(&self.buffer[start..self.start]) } else { 1 };
        if text > MAX_ROW_BYTES {
            return Err(RowError::TooLong { line });
        }
        let bytes = if is_quoted { &self.unquoted[..] } else { &self.buffer[start..start + text] };
        Ok(Some(Row { line, bytes, ends: &self.ends }))
    }

    /// Continues after the line on which a faulty field begins, so that one fault does not hide others.
    fn skip_faulty_line(&mut self, field: usize, at: usize, fault: QuotingFault) -> io::Result<RowError> {
        let length = self.line_from(at)?;
        let begin = self.start + at;
        let line = self.line + line_ends(&self.buffer[self.start..begin]);
        let shown = &self.buffer[begin..begin + length.min(SHOWN_BYTES)];
        let value = String::from_utf8_lossy(shown).trim_end_matches(['\r', '\n']).to_owned();
        if fault == QuotingFault::Unclosed {
            // Everything that follows is inside the quotes.
            self.stop_reading();
        } else {
            self.start = begin + length;
            self.line = line + 1;
        }
        Ok(RowError::Quoting { line, field, value, fault })
    }

    /// Ends the input here.
    fn stop_reading(&mut self) {
        self.start = self.end;
        self.has_ended = true;
    }

    /// Reads more. The window doubles, so that a long row is not scanned too often.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self.chunk_bytes.max(2 * self.end);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while self.end < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.has_ended = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn field(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.begin(index)..self.ends[index]]
    }

    /// The fields as texts, if all of them are UTF-8.
    pub(super) fn texts(&self) -> Option<impl Fn(usize) -> &'a str> {
        let text = std::str::from_utf8(self.bytes).ok()?;
        Some(move |index| &text[self.begin(index)..self.ends[index]])
    }

    /// Whether it has only blanks and delimiters, or the end-of-file character of DOS.
    pub(super) fn is_blank(&self) -> bool {
        let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x1a;
        (0..self.len()).all(|index| self.field(index).iter().all(is_blank))
    }

    fn begin(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before] + 1)
    }
}

/// Scans the first row of a window. Nearly all rows have no quotes, and are not copied.
fn scan(window: &[u8], is_last: bool, delimiter: u8, ends: &mut Vec<usize>, unquoted: &mut Vec<u8>) -> Scan {
    let text = match memchr3(b'\n', b'\r', b'"', window) {
        Some(at) if window[at] == b'"' => return scan_quoted(window, at, is_last, delimiter, ends, unquoted),
        None if !is_last => return Scan::Part { open_quote: None },
        found => found.unwrap_or(window.len()),
    };
    let Some(length) = line_end(window, text, is_last) else { return Scan::Part { open_quote: None } };
    ends.clear();
    ends.extend(memchr_iter(delimiter, &window[..text]));
    ends.push(text);
    Scan::Row { text, length, is_quoted: false }
}

/// Scans a row with its first quote at `quote`. Text outside of quotes is copied several fields at a time.
fn scan_quoted(
    window: &[u8],
    mut quote: usize,
    is_last: bool,
    delimiter: u8,
    ends: &mut Vec<usize>,
    unquoted: &mut Vec<u8>,
) -> Scan {
    ends.clear();
    unquoted.clear();
    // Concatenated files have byte order marks in the middle.
    let mark = "\u{feff}";
    let mut at = if quote == mark.len() && window.starts_with(mark.as_bytes()) { quote } else { 0 };
    loop {
        // Before the quote, there is no other quote and no line end.
        let plain = &window[at..quote];
        ends.extend(memchr_iter(delimiter, plain).map(|end| unquoted.len() + end));
        unquoted.extend_from_slice(plain);
        let field = ends.len();
        let begin = ends.last().map_or(0, |end| end + 1);
        let fault = |at, fault| Scan::Fault { field, at, fault };
        if begin < unquoted.len() {
            return fault(quote - (unquoted.len() - begin), QuotingFault::QuoteInText);
        }
        at = match unquote(window, quote, is_last, unquoted) {
            Unquoted::End(end) => end,
            Unquoted::Open if is_last => return fault(quote, QuotingFault::Unclosed),
            Unquoted::Open => return Scan::Part { open_quote: Some((field, quote)) },
        };
        match window.get(at) {
            Some(&byte) if byte == delimiter => {
                ends.push(unquoted.len());
                unquoted.push(delimiter);
                at += 1;
            }
            Some(&byte) if !is_line_end(byte) => return fault(quote, QuotingFault::TextAfterQuote),
            _ => {}
        }
        let next = memchr3(b'\n', b'\r', b'"', &window[at..]).map(|next| at + next);
        match next {
            Some(next) if window[next] == b'"' => quote = next,
            None if !is_last => return Scan::Part { open_quote: None },
            next => {
                let text = next.unwrap_or(window.len());
                let plain = &window[at..text];
                ends.extend(memchr_iter(delimiter, plain).map(|end| unquoted.len() + end));
                unquoted.extend_from_slice(plain);
                ends.push(unquoted.len());
                return match line_end(window, text, is_last) {
                    Some(length) => Scan::Row { text, length, is_quoted: true },
                    None => Scan::Part { open_quote: None },
                };
            }
        }
    }
}

/// Where a quoted field ends.
enum Unquoted {
    /// The position after its closing quote.
    End(usize),
    /// The window ends before the field does.
    Open,
}

/// Copies the text in the quotes that begin at `quote`.
fn unquote(window: &[u8], quote: usize, is_last: bool, unquoted: &mut Vec<u8>) -> Unquoted {
    let mut at = quote + 1;
    while let Some(length) = memchr(b'"', &window[at..]) {
        unquoted.extend_from_slice(&window[at..at + length]);
        at += length + 1;
        match window.get(at) {
            Some(b'"') => unquoted.push(b'"'),
            // The second quote of a pair may follow in the next chunk.
            None if !is_last => return Unquoted::Open,
            _ => return Unquoted::End(at),
        }
        at += 1;
    }
    Unquoted::Open
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The end of a line with `text` bytes; `None` if more input is needed to know.
fn line_end(window: &[u8], text: usize, is_last: bool) -> Option<usize> {
    match window[text..] {
        [] => Some(text),
        [b'\r', b'\n', ..] => Some(text + 2),
        [b'\r'] if !is_last => None,
        _ => Some(text + 1),
    }
}

/// The number of line ends.
fn line_ends(bytes: &[u8]) -> u64 {
    let pairs = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    (bytes.iter().filter(|&&byte| is_line_end(byte)).count() - pairs) as u64
}

#[cfg(test)]
mod tests;
