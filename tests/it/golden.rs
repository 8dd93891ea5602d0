//! What can be seen from outside, byte by byte: reports, messages, bills, digests, tokens, errors, metrics, logs and the
//! text of commands, held against files below `tests/it/golden/expected`.
//!
//! These tests use the program, the generated stubs, SQL and HTTP, and no type of the library, so that a change of the
//! library's insides does not touch them. With `UPDATE_GOLDEN=1` they write the files.

mod bills;
mod breakdowns;
mod commands;
mod digests;
mod errors;
mod fixture;
mod help;
mod imports;
mod mask;
mod reports;
mod seen;
mod stream;
mod wrong_commands;

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

/// Compares with a golden file, or writes it where `UPDATE_GOLDEN=1` is set.
#[track_caller]
fn assert_golden(name: &str, actual: &str) {
    let path = folder().join("expected").join(name);
    let actual = mask::visible(actual);
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, actual).expect("room for a file");
        return;
    }
    let expected = match std::fs::read_to_string(&path) {
        Ok(expected) => expected,
        Err(error) => panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()),
    };
    if let Some(difference) = difference(&expected, &actual) {
        panic!(
            "{name} has changed, which is a change of the contract\n{difference}\nIf it is meant, UPDATE_GOLDEN=1 writes the \
             file, and CHANGELOG.md gets a line"
        );
    }
}

/// The first line that differs, in both forms; `None`: the texts are the same.
fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    // Line ends stay, so that a missing one at the end is a difference of a line, too.
    let (mut before, mut after) = (expected.split_inclusive('\n'), actual.split_inclusive('\n'));
    (1..).find_map(|number| {
        let (before, after) = (before.next(), after.next());
        let shown = |line: Option<&str>| line.map_or("(the end)".to_owned(), |line| format!("{line:?}"));
        (before != after).then(|| {
            format!("first difference in line {number}:\n  expected {}\n  actual   {}", shown(before), shown(after))
        })
    })
}

#[test]
fn the_first_line_that_differs_is_named() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    let told = |expected, actual| difference(expected, actual).unwrap();
    assert_eq!(told("a\nb\nc", "a\nx\ny"), "first difference in line 2:\n  expected \"b\\n\"\n  actual   \"x\\n\"");
    assert_eq!(told("a\n", "a\nb\n"), "first difference in line 2:\n  expected (the end)\n  actual   \"b\\n\"");
    assert_eq!(told("a\nb", "a\nb\n"), "first difference in line 2:\n  expected \"b\"\n  actual   \"b\\n\"");
}

#[test]
#[should_panic(expected = "UPDATE_GOLDEN=1 writes it")]
fn a_missing_golden_file_fails() {
    // Where files are being written, this one must not be.
    assert!(std::env::var_os("UPDATE_GOLDEN").is_none(), "UPDATE_GOLDEN=1 writes it");
    assert_golden("there-is-no-such-file.txt", "");
}
