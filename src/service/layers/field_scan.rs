//! Counts the elements of a message's lists while its bytes arrive, before anything is decoded: an element of two bytes
//! becomes hundreds in memory.
//!
//! Follows the wire format (protobuf.dev, "Encoding") as far as it matters here: groups, which no message of the contract
//! has, are counted as if their fields stood beside them.

use crate::service::policy::ListBound;

/// The longest encoding of a number.
const MAX_VARINT_BYTES: u32 = 10;

/// What a message has so far.
pub(super) struct FieldScan {
    bounds: &'static [ListBound],
    /// Elements of each list.
    counts: Vec<usize>,
    /// Bytes that were seen.
    position: usize,
    /// Where the messages around the position end, the outermost first.
    ends: Vec<usize>,
    /// The fields that these messages are in: one less.
    path: Vec<u32>,
    next: Expected,
}

/// What the next byte is a part of.
#[derive(Clone, Copy)]
enum Expected {
    Key(Varint),
    Value(Varint),
    Length { field: u32, length: Varint },
    Bytes(usize),
}

/// A number whose bytes are arriving.
#[derive(Clone, Copy, Default)]
struct Varint {
    value: u64,
    bytes: u32,
}

/// Why a message is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany(&'static ListBound),
    Malformed,
}

// === impl FieldScan ===

impl FieldScan {
    pub(super) fn new(bounds: &'static [ListBound], message_bytes: usize) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len()],
            position: 0,
            ends: vec![message_bytes],
            path: Vec::new(),
            next: Expected::Key(Varint::default()),
        }
    }

    /// Looks at the next bytes of the message.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Expected::Bytes(left) = self.next {
                let skipped = left.min(bytes.len());
                bytes = &bytes[skipped..];
                self.position += skipped;
                self.skip(left - skipped)?;
                continue;
            }
            bytes = rest;
            self.position += 1;
            self.read_byte(byte)?;
        }
        Ok(())
    }

    fn read_byte(&mut self, byte: u8) -> Result<(), Refused> {
        match self.next {
            Expected::Key(mut key) => match key.add(byte)? {
                Some(value) => self.begin(value),
                None => self.expect(Expected::Key(key)),
            },
            Expected::Value(mut value) => match value.add(byte)? {
                Some(_) => self.end(),
                None => self.expect(Expected::Value(value)),
            },
            Expected::Length { field, mut length } => match length.add(byte)? {
                Some(value) => self.enter(field, usize::try_from(value).map_err(|_| Refused::Malformed)?),
                None => self.expect(Expected::Length { field, length }),
            },
            // Read by `read`, as many as there are.
            Expected::Bytes(_) => Ok(()),
        }
    }

    fn expect(&mut self, next: Expected) -> Result<(), Refused> {
        self.next = next;
        Ok(())
    }

    /// Begins the field of a key.
    fn begin(&mut self, key: u64) -> Result<(), Refused> {
        let key = u32::try_from(key).map_err(|_| Refused::Malformed)?;
        let field = key >> 3;
        match key & 0b111 {
            0 => {
                self.count(field, 1)?;
                self.expect(Expected::Value(Varint::default()))
            }
            1 => self.skip(8),
            2 => self.expect(Expected::Length { field, length: Varint::default() }),
            3 | 4 => self.end(),
            5 => self.skip(4),
            _ => Err(Refused::Malformed),
        }
    }

    /// Begins the content of a field that has a length.
    fn enter(&mut self, field: u32, length: usize) -> Result<(), Refused> {
        let end = self.position.checked_add(length).ok_or(Refused::Malformed)?;
        if self.ends.last().is_some_and(|&outer| end > outer) {
            return Err(Refused::Malformed);
        }
        let is_packed = self.bound_of(field).is_some_and(|(_, bound)| bound.is_packed);
        // Each number of a packed list has at least a byte.
        self.count(field, if is_packed { length } else { 1 })?;
        let depth = self.path.len();
        let has_lists = |bound: &ListBound| {
            bound.path.len() > depth + 1 && bound.path.starts_with(&self.path) && bound.path[depth] == field
        };
        if !self.bounds.iter().any(has_lists) {
            return self.skip(length);
        }
        self.ends.push(end);
        self.path.push(field);
        self.end()
    }

    fn skip(&mut self, left: usize) -> Result<(), Refused> {
        if left == 0 { self.end() } else { self.expect(Expected::Bytes(left)) }
    }

    /// A field has ended, and so may the messages around it have.
    fn end(&mut self) -> Result<(), Refused> {
        while self.ends.len() > 1 && self.ends.last().is_some_and(|&end| self.position >= end) {
            self.ends.pop();
            self.path.pop();
        }
        self.expect(Expected::Key(Varint::default()))
    }

    fn bound_of(&self, field: u32) -> Option<(usize, &'static ListBound)> {
        let (depth, path) = (self.path.len(), &self.path);
        let is_of = |bound: &ListBound| {
            bound.path.len() == depth + 1 && bound.path.starts_with(path) && bound.path[depth] == field
        };
        self.bounds.iter().enumerate().find(|(_, bound)| is_of(bound))
    }

    fn count(&mut self, field: u32, elements: usize) -> Result<(), Refused> {
        let Some((index, bound)) = self.bound_of(field) else { return Ok(()) };
        self.counts[index] += elements;
        if self.counts[index] > bound.max { Err(Refused::TooMany(bound)) } else { Ok(()) }
    }
}

// === impl Varint ===

impl Varint {
    /// Adds a byte; returns the number after its last one.
    fn add(&mut self, byte: u8) -> Result<Option<u64>, Refused> {
        if self.bytes == MAX_VARINT_BYTES {
            return Err(Refused::Malformed);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        Ok((byte < 0x80).then_some(self.value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::contract::proto::{GetDetailedUsageRequest, ImportUsageRequest, UsageFilter, UsageRecord, YearMonth};

    static RECORDS: [ListBound; 1] = [ListBound { name: "records", path: &[2], max: 3, is_packed: false }];
    static FILTER: [ListBound; 2] = [
        ListBound { name: "filter.asset_types", path: &[3, 1], max: 3, is_packed: true },
        ListBound { name: "filter.asset_ids", path: &[3, 2], max: 3, is_packed: false },
    ];

    /// In pieces of so many bytes.
    fn scan(bounds: &'static [ListBound], message: &[u8], piece: usize) -> Result<(), Refused> {
        let mut scan = FieldScan::new(bounds, message.len());
        message.chunks(piece).try_for_each(|piece| scan.read(piece))
    }

    proptest! {
        #[test]
        fn lists_are_counted_however_the_bytes_arrive(
            names in prop::collection::vec("[a-z]{0,200}", 0..6), types in prop::collection::vec(0..200_i32, 0..6),
            source in "[a-z]{0,300}", piece in 1_usize..400,
        ) {
            let import = ImportUsageRequest {
                source: source.clone(),
                records: names.iter().map(|name| UsageRecord {
                    asset_name: name.clone(), trial: true, start: Some(prost_types::Timestamp { seconds: -1, nanos: 7 }),
                    ..Default::default()
                }).collect(),
                complete: true,
            };
            let expected = if names.len() > 3 { Err(Refused::TooMany(&RECORDS[0])) } else { Ok(()) };
            prop_assert_eq!(scan(&RECORDS, &import.encode_to_vec(), piece), expected);

            let bytes: usize = types.iter().map(|&code| if code < 128 { 1 } else { 2 }).sum();
            let filter = UsageFilter { asset_types: types, asset_ids: names.clone(), ..Default::default() };
            let usage = GetDetailedUsageRequest {
                tenant_id: source.clone(), month: Some(YearMonth { year: 2022, month: 2 }), filter: Some(filter),
                as_of: None, statement_number: String::new(), resume_token: source, packed: true,
            };
            let expected = match (bytes > 3, names.len() > 3) {
                (true, _) => Err(Refused::TooMany(&FILTER[0])),
                (false, true) => Err(Refused::TooMany(&FILTER[1])),
                (false, false) => Ok(()),
            };
            prop_assert_eq!(scan(&FILTER, &usage.encode_to_vec(), piece), expected);
        }

        /// What the scan lets pass never decodes to more.
        #[test]
        fn nothing_decodes_to_more_than_was_counted(
            parts in prop::collection::vec(prop::sample::select(vec![
                &[0x12, 0][..], &[0x92, 0x80, 0, 0], &[0x12, 0x80, 0], &[0x1a, 2, 0x12, 0], &[0x1a, 4, 0x12, 0, 0x12, 0],
                &[0x1a, 3, 0x0a, 1, 7], &[0x1a, 2, 0x08, 7], &[0x0b, 0x12, 0, 0x0c], &[0x0d, 1, 2, 3, 4], &[0x09, 1, 2, 3],
                &[0x18, 1], &[0x12], &[0xff], &[0],
            ]), 0..12),
            piece in 1_usize..9,
        ) {
            let message = parts.concat();
            if scan(&RECORDS, &message, piece).is_ok() && let Ok(import) = ImportUsageRequest::decode(&*message) {
                prop_assert!(import.records.len() <= 3);
            }
            if scan(&FILTER, &message, piece).is_ok()
                && let Ok(GetDetailedUsageRequest { filter: Some(filter), .. }) = GetDetailedUsageRequest::decode(&*message)
            {
                prop_assert!(filter.asset_ids.len() <= 3 && filter.asset_types.len() <= 3);
            }
        }
    }

    #[test]
    fn what_no_message_can_be_is_refused() {
        for message in [
            // A number that is too long, a field that is longer than its message, a key that is too large.
            &[0xff; 11][..],
            &[0x12, 5, 0],
            &[0x1a, 2, 0x12, 9, 0],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0],
            &[0x07],
        ] {
            assert_eq!(scan(&FILTER, message, 1), Err(Refused::Malformed), "{message:?}");
        }
    }
}
