use proptest::prelude::*;

use super::*;

/// Gives a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

/// Each row by its line and fields, or the line and the field of its fault.
type Read1 = Result<(u64, Vec<String>), (u64, usize, QuotingFault)>;

fn read_by(text: &[u8], chunk_bytes: usize, delimiter: u8) -> Vec<Read1> {
    // As much at a time, so that whatever there is lies on a border once.
    let mut rows = Rows::with_chunks(Dribble(text, chunk_bytes), chunk_bytes.min(BUFFER_BYTES));
    rows.set_delimiter(delimiter);
    let mut read = Vec::new();
    loop {
        match rows.next() {
            Ok(None) => return read,
            Ok(Some(row)) => {
                let field = |index| String::from_utf8(row.field(index).to_vec()).expect("a text");
                read.push(Ok((row.line, (0..row.len()).map(field).collect())));
            }
            Err(RowError::Quoting { line, field, fault, .. }) => read.push(Err((line, field, fault))),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn read(text: &str) -> Vec<Read1> {
    read_by(text.as_bytes(), usize::MAX, b',')
}

fn row(line: u64, fields: &[&str]) -> Read1 {
    Ok((line, fields.iter().map(|&field| field.to_owned()).collect()))
}

#[test]
fn lines_are_those_of_an_editor() {
    for end in ["\n", "\r\n", "\r"] {
        let text = "a,b||\"c|d\",e|f,g||".replace('|', end);
        let two_lines = format!("c{end}d");
        let expected =
            [row(1, &["a", "b"]), row(2, &[""]), row(3, &[&two_lines, "e"]), row(5, &["f", "g"]), row(6, &[""])];
        for chunk_bytes in 1..20 {
            assert_eq!(read_by(text.as_bytes(), chunk_bytes, b','), expected, "{end:?}, {chunk_bytes} bytes at a time");
        }
    }
    assert_eq!(read("a\r\rb\n\rc"), [row(1, &["a"]), row(2, &[""]), row(3, &["b"]), row(4, &[""]), row(5, &["c"])]);
    assert_eq!(read("\"a\r\n\n\r\",b\nc"), [row(1, &["a\r\n\n\r", "b"]), row(5, &["c"])]);
    assert_eq!(read(""), []);
    assert_eq!(read("\n"), [row(1, &[""])]);
    assert_eq!(read("a,\"\""), [row(1, &["a", ""])]);
}

#[test]
fn quotes_are_those_of_rfc_4180() {
    use QuotingFault::{QuoteInText, TextAfterQuote, Unclosed};
    for (text, expected) in [
        ("\"a\"\"b\",\"\",\"\"\"\"\n", vec![row(1, &["a\"b", "", "\""])]),
        ("\"a,b\",c\n", vec![row(1, &["a,b", "c"])]),
        // A field that is not closed swallows what follows.
        ("x\n\"a,b\nc,d\n", vec![row(1, &["x"]), Err((2, 0, Unclosed))]),
        ("x\n1,\"a", vec![row(1, &["x"]), Err((2, 1, Unclosed))]),
        ("\"", vec![Err((1, 0, Unclosed))]),
        ("\"\"\"", vec![Err((1, 0, Unclosed))]),
        // Each fault is told, and the rows between them are read.
        (
            "\"a\" b,c\nd\n\"e\"f\ng",
            vec![Err((1, 0, TextAfterQuote)), row(2, &["d"]), Err((3, 0, TextAfterQuote)), row(4, &["g"])],
        ),
        ("1,\"a\nb\"c,2\n3\n", vec![Err((1, 1, TextAfterQuote)), Err((2, 0, QuoteInText)), row(3, &["3"])]),
        ("1,\"x\ny\",\"a\" \n3", vec![Err((2, 2, TextAfterQuote)), row(3, &["3"])]),
        ("24\" screen,1\n2\n", vec![Err((1, 0, QuoteInText)), row(2, &["2"])]),
        ("1, \"a\"\n2", vec![Err((1, 1, QuoteInText)), row(2, &["2"])]),
        ("1,a\"\r\n2\r\n", vec![Err((1, 1, QuoteInText)), row(2, &["2"])]),
        ("\"a\\\"b\",1\n2", vec![Err((1, 0, TextAfterQuote)), row(2, &["2"])]),
    ] {
        for chunk_bytes in [1, 2, 3, 5, usize::MAX] {
            assert_eq!(read_by(text.as_bytes(), chunk_bytes, b','), expected, "{text:?}");
        }
    }
}

/// Also where what was read ends in the middle of it.
#[test]
fn lines_can_be_looked_at_before_they_are_read() {
    for end in ["\n", "\r\n", "\r"] {
        let text = [",,,", "", "sep=,", "a,b", "\"c\",d"].join(end);
        for chunk_bytes in 1..20 {
            let mut rows = Rows::with_chunks(text.as_bytes(), chunk_bytes);
            for line in [",,,", "", "sep=,"] {
                assert_eq!(rows.peek_line().expect("a text"), Some(line.as_bytes()));
                rows.skip_line().expect("a text");
            }
            assert_eq!(rows.peek_line().expect("a text"), Some(&b"a,b"[..]));
            let lines: Vec<u64> = std::iter::from_fn(|| rows.next().expect("sound").map(|row| row.line)).collect();
            assert_eq!(lines, [4, 5], "{end:?}, {chunk_bytes} bytes at a time");
            assert_eq!(rows.peek_line().expect("a text"), None);
        }
    }
}

#[test]
fn another_delimiter_is_one() {
    assert_eq!(read_by(b"a,b\tc\n\"d\te\"\tf", 3, b'\t'), [row(1, &["a,b", "c"]), row(2, &["d\te", "f"])]);
}

#[test]
fn long_rows_are_read_up_to_their_limit() {
    let long = "x".repeat(MAX_ROW_BYTES - 10);
    for field in [long.clone(), format!("\"{}\"", long.replace('x', "\n"))] {
        let text = format!("a,b\n1,{field}\n2,3\n");
        let rows = read_by(text.as_bytes(), 4096, b',');
        assert_eq!((rows.len(), rows[2].as_ref().map(|(_, fields)| fields.len())), (3, Ok(2)));
    }
    let first_error = |text: String| {
        let mut rows = Rows::new(text.as_bytes());
        loop {
            match rows.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some((format!("{error:?}"), rows.buffer.len())),
            }
        }
    };
    let (error, bytes) = first_error(format!("a\n{}", "x".repeat(9 << 20))).expect("too long");
    assert_eq!(error, "TooLong { line: 2 }");
    assert!(bytes <= 8 * MAX_ROW_BYTES, "{bytes}");
    let (error, bytes) = first_error(format!("a\n1,\"b{}", ",\n".repeat(9 << 19))).expect("not closed");
    assert!(error.starts_with("Quoting { line: 2, field: 1, value: \"\\\"b,\", fault: Unclosed"), "{error}");
    assert!(bytes <= 8 * MAX_ROW_BYTES, "{bytes}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c\", \r\n\t;]{0,6}", "\\PC{0,8}", "[a-z0-9:.-]{0,30}"]
}

proptest! {
    /// Wherever what was read ends: rows, lines and faults are the same.
    #[test]
    fn borders_change_nothing(text in "[ab\",\r\n]{0,60}", chunk_bytes in 1..64_usize) {
        prop_assert_eq!(read_by(text.as_bytes(), chunk_bytes, b','), read(&text));
    }

    /// Against a library, on what is sound: both read it alike.
    #[test]
    fn sound_rows_are_read_as_they_were_written(
        rows in prop::collection::vec(prop::collection::vec(text(), 1..5), 0..12), chunk_bytes in 1..40_usize, crlf in any::<bool>(),
        quote_all in any::<bool>(),
    ) {
        let mut writer = csv::WriterBuilder::new();
        writer.flexible(true);
        if crlf {
            writer.terminator(csv::Terminator::CRLF);
        }
        if quote_all {
            writer.quote_style(csv::QuoteStyle::Always);
        }
        let mut writer = writer.from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).expect("room");
        }
        let written = writer.into_inner().expect("room");
        let found: Vec<Vec<String>> = read_by(&written, chunk_bytes, b',').into_iter().map(|row| row.expect("sound").1).collect();
        prop_assert_eq!(found, rows);
    }

    /// On anything: it ends, its lines go up, and what is read without a fault is what the library reads, too.
    #[test]
    fn whatever_comes_is_read_alike_or_refused(text in "[ab\",\r\n]{0,40}", chunk_bytes in 1..9_usize) {
        let found = read_by(text.as_bytes(), chunk_bytes, b',');
        prop_assert_eq!(&found, &read(&text));
        let lines: Vec<u64> = found.iter().map(|row| row.as_ref().map_or_else(|fault| fault.0, |row| row.0)).collect();
        prop_assert!(lines.is_sorted(), "{:?}", lines);
        let rows: Vec<Vec<String>> = found.iter().filter_map(|row| Some(row.as_ref().ok()?.1.clone())).collect();
        if rows.len() == found.len() {
            let mut library = csv::ReaderBuilder::new();
            let library = library.has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> = library
                .into_records()
                .map(|row| row.expect("a text").iter().map(str::to_owned).collect())
                .collect();
            // The library passes over lines without anything.
            let rows: Vec<Vec<String>> = rows.into_iter().filter(|row| *row != [""]).collect();
            let expected: Vec<Vec<String>> = expected.into_iter().filter(|row| *row != [""]).collect();
            prop_assert_eq!(rows, expected);
        }
    }
}
