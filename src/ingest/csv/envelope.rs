//! The container of CSV: its compression and encoding. Other formats are recognized, for a helpful error.

use std::io::{self, BufReader, Cursor, Read};

use super::{gzip::Gzip, utf16::Utf16};

const BUFFER_BYTES: usize = 256 << 10;
/// How much of an input is read to recognize its format. The signature of a tar archive ends at 262.
const PREFIX_BYTES: usize = 512;

/// The text of an input, as UTF-8.
pub(super) struct Envelope {
    pub(super) text: Box<dyn Read>,
    pub(super) encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16,
}

/// An input is not CSV with commas.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedFormat {
    #[error("this is {found}, not CSV: {remedy}")]
    Recognized { found: &'static str, remedy: &'static str },
    /// The delimiter is not a comma.
    #[error(
        "fields are separated by {0}, not by commas: save the file with commas between fields (in a spreadsheet \
         program: CSV UTF-8, comma delimited)"
    )]
    Separator(&'static str),
}

const SAVE_AS_CSV: &str = "save it as CSV (UTF-8, with commas)";
const UNPACK: &str = "unpack it, and import the files in it";
const RECOMPRESS: &str = "decompress it, or compress it with gzip or zstd";
const EXPORT: &str = "export it as CSV";

/// The first bytes of formats that people have sent instead of CSV, with their names and what to do.
const SIGNATURES: [(&[u8], &str, &str); 21] = [
    (b"PK\x03\x04", "a ZIP archive", UNPACK),
    (b"PK\x05\x06", "an empty ZIP archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"BZh", "a bzip2 file", RECOMPRESS),
    (b"\xfd7zXZ\0", "an xz file", RECOMPRESS),
    (b"LZIP", "an lzip file", RECOMPRESS),
    (b"\x04\x22\x4d\x18", "an LZ4 file", RECOMPRESS),
    (b"\xff\x06\x00\x00sNaPpY", "a Snappy file", RECOMPRESS),
    (b"\x1f\x9d", "a file compressed with `compress`", RECOMPRESS),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls)", SAVE_AS_CSV),
    (b"%PDF-", "a PDF document", EXPORT),
    (b"PAR1", "a Parquet file", EXPORT),
    (b"ARROW1", "an Arrow file", EXPORT),
    (b"Obj\x01", "an Avro file", EXPORT),
    (b"ORC", "an ORC file", EXPORT),
    (b"SQLite format 3\0", "an SQLite database", EXPORT),
    (b"PGDMP", "a dump made with pg_dump", EXPORT),
    (b"PGCOPY\n\xff\r\n\0", "a file in PostgreSQL's binary COPY format", "write it with FORMAT csv, HEADER"),
    (b"\xff\xfe\0\0", "a text in UTF-32", SAVE_AS_CSV),
    (b"\0\0\xfe\xff", "a text in UTF-32", SAVE_AS_CSV),
];

/// The beginnings of texts that are not CSV, in lower case.
const TEXT_PREFIXES: [(&str, &str, &str); 7] = [
    ("version https://git-lfs", "a Git LFS pointer", "get the file with `git lfs pull`"),
    ("/annex/objects/", "a git-annex pointer", "get the file with `git annex get`"),
    ("<!doctype html", "an HTML page, perhaps a login page", "download the file itself"),
    ("<html", "an HTML page, perhaps a login page", "download the file itself"),
    ("<", "XML", SAVE_AS_CSV),
    ("{", "JSON", SAVE_AS_CSV),
    ("[", "JSON", SAVE_AS_CSV),
];

/// Explains errors in compressed data.
struct Decompressed<R> {
    inner: R,
    format: &'static str,
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => io::Error::new(
                error.kind(),
                format!(
                    "the {} data ends too early, so the file is incomplete: copy or download it again",
                    self.format
                ),
            ),
            kind => io::Error::new(
                kind,
                format!("the {} data cannot be read ({error}): copy or download the file again", self.format),
            ),
        })
    }
}

/// Recognizes the format of an input by its first bytes, and returns its text.
pub(super) fn open(input: impl Read + 'static) -> Result<Envelope, super::ReadError> {
    let (prefix, input) = peek(input)?;
    let input: Box<dyn Read> = if prefix.starts_with(b"\x1f\x8b") {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        Box::new(Decompressed { inner: Gzip::new(input), format: "gzip" })
    } else if is_zstd(&prefix) {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        Box::new(Decompressed { inner: zstd::Decoder::with_buffer(input)?, format: "zstd" })
    } else {
        Box::new(input)
    };
    let (mut prefix, input) = peek(input)?;
    if let Some(unsupported_binary) = unsupported_binary(&prefix) {
        return Err(unsupported_binary.into());
    }
    let mut input: Box<dyn Read> = Box::new(input);
    let mut encoding = Encoding::Utf8;
    if let Some(is_big_endian) = utf16(&prefix) {
        encoding = Encoding::Utf16;
        let text;
        (prefix, text) = peek(Utf16::new(input, is_big_endian))?;
        input = Box::new(text);
    }
    // Spreadsheet programs write a byte order mark.
    let mark = "\u{feff}".as_bytes();
    if prefix.starts_with(mark) {
        input.read_exact(&mut [0; 3])?;
        prefix.drain(..mark.len());
    }
    if let Some(other) = unsupported_text(&prefix) {
        return Err(other.into());
    }
    Ok(Envelope { text: input, encoding })
}

/// The first bytes of an input, and the input as if they had not been read.
fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut prefix = Vec::new();
    input.by_ref().take(PREFIX_BYTES as u64).read_to_end(&mut prefix)?;
    Ok((prefix.clone(), Cursor::new(prefix).chain(input)))
}

/// A zstd frame or a skippable frame (RFC 8878).
fn is_zstd(prefix: &[u8]) -> bool {
    matches!(prefix, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn unsupported_binary(prefix: &[u8]) -> Option<UnsupportedFormat> {
    if prefix.starts_with(b"\x1f\x8b") || is_zstd(prefix) {
        return Some(UnsupportedFormat::Recognized {
            found: "a file that is compressed twice",
            remedy: "decompress it once",
        });
    }
    if prefix.get(257..262) == Some(b"ustar") {
        return Some(UnsupportedFormat::Recognized { found: "a tar archive", remedy: UNPACK });
    }
    let &(signature, found, remedy) = SIGNATURES.iter().find(|(signature, ..)| prefix.starts_with(signature))?;
    let is_workbook = signature == b"PK\x03\x04"
        && ["[Content_Types].xml", "_rels/", "xl/", "opendocument.spreadsheet"]
            .iter()
            .any(|part| contains(prefix, part));
    if is_workbook {
        return Some(UnsupportedFormat::Recognized {
            found: "a workbook of a spreadsheet program",
            remedy: SAVE_AS_CSV,
        });
    }
    Some(UnsupportedFormat::Recognized { found, remedy })
}

fn unsupported_text(prefix: &[u8]) -> Option<UnsupportedFormat> {
    let text = String::from_utf8_lossy(prefix).trim_start().to_ascii_lowercase();
    let &(_, found, remedy) = TEXT_PREFIXES.iter().find(|(beginning, ..)| text.starts_with(beginning))?;
    Some(UnsupportedFormat::Recognized { found, remedy })
}

fn contains(prefix: &[u8], part: &str) -> bool {
    memchr::memmem::find(prefix, part.as_bytes()).is_some()
}

/// Whether it is UTF-16, and then whether it is big-endian: by the byte order mark, or else by two ASCII letters.
fn utf16(prefix: &[u8]) -> Option<bool> {
    match prefix {
        [0xfe, 0xff, ..] | [0, 1..=0x7f, 0, 1..=0x7f, ..] => Some(true),
        [0xff, 0xfe, ..] | [1..=0x7f, 0, 1..=0x7f, 0, ..] => Some(false),
        _ => None,
    }
}

// === impl Encoding ===

impl Encoding {
    /// The problem of a field that is not valid text.
    pub(super) fn fault(self) -> &'static str {
        match self {
            Self::Utf8 => "is not UTF-8; save the file as UTF-8",
            Self::Utf16 => "is not valid UTF-16; save the file as UTF-8",
        }
    }
}
