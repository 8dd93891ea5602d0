//! Converts UTF-16 to UTF-8.

use std::io::{self, Read};

const CHUNK_BYTES: usize = 64 << 10;

/// Converts UTF-16 to UTF-8. Invalid UTF-16 becomes invalid UTF-8, so that it is refused where it stands and is not
/// replaced.
pub(super) struct Utf16<R> {
    input: R,
    unit: fn([u8; 2]) -> u16,
    /// Bytes that are not converted yet. After a conversion, at most a part of a character.
    raw: Vec<u8>,
    text: Vec<u8>,
    /// How much of the text the caller has read.
    consumed: usize,
    has_ended: bool,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(input: R, is_big_endian: bool) -> Self {
        let unit = if is_big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        Self { input, unit, raw: Vec::new(), text: Vec::new(), consumed: 0, has_ended: false }
    }

    /// Converts the next piece.
    fn advance(&mut self) -> io::Result<()> {
        let held = self.raw.len();
        self.raw.resize(CHUNK_BYTES, 0);
        let read = self.input.read(&mut self.raw[held..]);
        self.raw.truncate(held + *read.as_ref().unwrap_or(&0));
        self.has_ended = read? == 0;
        let unit = self.unit;
        let (units, odd) = self.raw.as_chunks::<2>();
        let mut units: Vec<u16> = units.iter().map(|&bytes| unit(bytes)).collect();
        let mut rest = odd.to_vec();
        // The other half of a surrogate pair may follow in the next chunk.
        if !self.has_ended && units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
            units.pop();
            let at = self.raw.len() - rest.len() - 2;
            rest = self.raw[at..].to_vec();
        }
        self.text.clear();
        self.consumed = 0;
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(lone) => {
                    let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                    self.text.extend_from_slice(&[0xED, 0x80 | (high & 0x0F) << 2 | low >> 6, 0x80 | (low & 0x3F)]);
                }
            }
        }
        if self.has_ended && !rest.is_empty() {
            self.text.push(0xFF);
            rest.clear();
        }
        self.raw = rest;
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.consumed == self.text.len() && !self.has_ended {
            self.advance()?;
        }
        let count = buffer.len().min(self.text.len() - self.consumed);
        buffer[..count].copy_from_slice(&self.text[self.consumed..self.consumed + count]);
        self.consumed += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
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

    fn converted(bytes: &[u8], is_big_endian: bool, piece: usize) -> Vec<u8> {
        let mut text = Vec::new();
        Utf16::new(Dribble(bytes, piece), is_big_endian).read_to_end(&mut text).expect("a text");
        text
    }

    proptest! {
        #[test]
        fn the_text_is_the_same(text in "(\\PC|[\u{10000}-\u{10FFFF}]){0,40}", piece in 1..7_usize) {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            prop_assert_eq!(converted(&little, false, piece), text.as_bytes());
            prop_assert_eq!(converted(&big, true, piece), text.as_bytes());
        }

        #[test]
        fn nothing_takes_the_place_of_what_is_no_character(units in prop::collection::vec(0xD7F0..0xE00F_u16, 0..12), piece in 1..7_usize) {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let text = converted(&bytes, false, piece);
            prop_assert_eq!(String::from_utf8(text).ok(), String::from_utf16(&units).ok());
        }
    }

    #[test]
    fn half_a_character_at_the_end_is_none() {
        assert!(std::str::from_utf8(&converted(b"a\0b", false, 1)).is_err());
    }
}
