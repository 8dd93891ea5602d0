//! What depends on time or chance, made the same each time, and what an editor might spoil, made visible.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};

const CHECK_BYTES: usize = 8;

/// Shows carriage returns, tabs and the byte order mark as characters that stay as they are in a text file.
pub(super) fn visible(text: &str) -> String {
    text.replace('\r', "␍").replace('\t', "␉").replace('\u{feff}', "<BOM>")
}

/// The other way round, for files that hold such characters.
pub(super) fn raw(text: &str) -> String {
    text.replace('␍', "\r").replace('␉', "\t")
}

/// Replaces moments of the present. The data of these tests is of 2022 and before, so that its moments stay.
pub(super) fn times(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = present_moment(rest) {
            out.push_str("<time>");
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The length of the moment that a text begins with, where it is one of the present.
fn present_moment(text: &str) -> Option<usize> {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if bytes.len() < FORM.len() || !bytes.iter().zip(FORM).all(fits) {
        return None;
    }
    let year: u32 = text[..4].parse().ok()?;
    let mut length = FORM.len();
    if bytes.get(length) == Some(&b'.') {
        length += 1 + bytes[length + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    }
    ((2024..2100).contains(&year) && bytes.get(length) == Some(&b'Z')).then_some(length + 1)
}

/// A moment of the present becomes that of 1970; where there is none, there is still none.
pub(super) fn moment(time: Option<Timestamp>) -> Option<Timestamp> {
    time.map(|time| {
        assert!(time.seconds > 1_700_000_000, "{time:?} is not of the present");
        Timestamp::default()
    })
}

/// A token with zeros in the place of its 8 bytes of time, which begin at `time`, and of its check, which depends on them.
pub(super) fn token(token: &str, time: Option<usize>) -> Vec<u8> {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("base64 for URLs, without padding");
    let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>().expect("a token with its check");
    assert_eq!(
        Sha256::digest(content)[..CHECK_BYTES],
        check[..],
        "the check is the beginning of the content's SHA-256"
    );
    let Some(time) = time else { return bytes };
    let micros = i64::from_be_bytes(bytes[time..time + 8].try_into().expect("8 bytes"));
    assert!(micros > 1_700_000_000_000_000, "{micros} is not of the present");
    bytes[time..time + 8].fill(0);
    let length = bytes.len();
    bytes[length - CHECK_BYTES..].fill(0);
    bytes
}

pub(super) fn token_text(text: &str, time: Option<usize>) -> String {
    if text.is_empty() { String::new() } else { URL_SAFE_NO_PAD.encode(token(text, time)) }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn moments_of_the_present_are_masked_and_others_stay() {
    assert_eq!(times("at 2026-11-25T20:13:52.123456Z, ü"), "at <time>, ü");
    assert_eq!(times("2026-11-25T20:13:52Z2026-11-25T20:13:52.1Z"), "<time><time>");
    for text in ["2022-02-01T00:00:00Z", "2026-11-25", "2026-11-25T20:13:52", "x 9999-12-31T23:59:59Z"] {
        assert_eq!(times(text), text);
    }
}
