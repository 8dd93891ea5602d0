//! Sorting more rows than memory holds: a buffer that is sorted and spilled to unnamed files, which are merged. The
//! files have no names, so that not even a kill leaves one behind.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
};

use super::codec::CheckedRow;

/// The memory limit before rows are spilled to disk.
const DEFAULT_BUFFER_BYTES: usize = 32 << 20;
const FILE_BUFFER_BYTES: usize = 128 << 10;

/// Collects rows in any order.
pub(super) struct Sorter {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Vec<File>,
    limit: usize,
}

/// Rows in the order of their keys. They can be scanned several times.
pub(super) struct Sorted {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Vec<File>,
}

/// The position of a row in the buffer: the key, followed by the rest.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    rest: u32,
    end: u32,
}

/// A row at the head of a run. Ordered by key and rest, so that equal keys come in the order of their locations.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Vec<u8>,
    rest: Vec<u8>,
    run: usize,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::with_buffer(DEFAULT_BUFFER_BYTES)
    }
}

// === impl Sorter ===

impl Sorter {
    fn with_buffer(limit: usize) -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), runs: Vec::new(), limit }
    }

    pub(super) fn push(&mut self, row: &CheckedRow<'_>) -> io::Result<()> {
        let start = self.bytes.len();
        row.put_key(&mut self.bytes);
        let rest = self.bytes.len();
        row.put_rest(&mut self.bytes);
        let position = |at: usize| u32::try_from(at).map_err(io::Error::other);
        self.entries.push(Entry { start: position(start)?, rest: position(rest)?, end: position(self.bytes.len())? });
        if self.bytes.len() + self.entries.len() * size_of::<Entry>() >= self.limit {
            self.spill()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if self.runs.is_empty() {
            self.sort();
        } else if !self.entries.is_empty() {
            self.spill()?;
        }
        Ok(Sorted { bytes: self.bytes, entries: self.entries, runs: self.runs })
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_unstable_by_key(|entry| entry.all(bytes));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut file = BufWriter::with_capacity(FILE_BUFFER_BYTES, tempfile::tempfile()?);
        for entry in &self.entries {
            let (key, rest) = (entry.key(&self.bytes), entry.rest(&self.bytes));
            for part in [key, rest] {
                file.write_all(&u32::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes())?;
                file.write_all(part)?;
            }
        }
        self.runs.push(file.into_inner().map_err(io::IntoInnerError::into_error)?);
        self.bytes.clear();
        self.entries.clear();
        Ok(())
    }
}

// === impl Entry ===

impl Entry {
    fn all(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    fn key(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.rest as usize]
    }

    fn rest(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.rest as usize..self.end as usize]
    }
}

// === impl Sorted ===

impl Sorted {
    /// Calls `each` with the key and the rest of every row, until it returns `false`.
    pub(super) fn scan(&mut self, mut each: impl FnMut(&[u8], &[u8]) -> io::Result<bool>) -> io::Result<()> {
        if self.runs.is_empty() {
            for entry in &self.entries {
                if !each(entry.key(&self.bytes), entry.rest(&self.bytes))? {
                    break;
                }
            }
            return Ok(());
        }
        let mut readers = Vec::with_capacity(self.runs.len());
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for (run, mut file) in self.runs.iter().enumerate() {
            file.rewind()?;
            let mut reader = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
            let mut head = Head { key: Vec::new(), rest: Vec::new(), run };
            if head.read(&mut reader)? {
                heads.push(Reverse(head));
            }
            readers.push(reader);
        }
        while let Some(mut top) = heads.peek_mut() {
            let Reverse(head) = &mut *top;
            if !each(&head.key, &head.rest)? {
                break;
            }
            if !head.read(&mut readers[head.run])? {
                std::collections::binary_heap::PeekMut::pop(top);
            }
        }
        Ok(())
    }
}

// === impl Head ===

impl Head {
    /// Reads the next row; `false` at the end.
    fn read(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut length = [0_u8; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        self.key.resize(u32::from_be_bytes(length) as usize, 0);
        from.read_exact(&mut self.key)?;
        from.read_exact(&mut length)?;
        self.rest.resize(u32::from_be_bytes(length) as usize, 0);
        from.read_exact(&mut self.rest)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::record_location::RecordLocation;
    use crate::model::{AssetType, BillingRegion, Decimal, RecordDimensions, TenantId, UtcTime};

    proptest! {
        #[test]
        fn spilling_changes_nothing(ids in prop::collection::vec("[a-z]{1,8}", 0..200), limit in 64_usize..4000) {
            let mut sorter = Sorter::with_buffer(limit);
            for (id, location) in ids.iter().zip(0..) {
                sorter.push(&CheckedRow {
                    location: RecordLocation::from_bits(location),
                    tenant_id: TenantId::from_uuid(uuid::Uuid::nil()),
                    asset_name: id,
                    asset_id: id,
                    asset_type: AssetType::User,
                    dimensions: RecordDimensions::new(0, UtcTime::from_unix_micros(0).expect("in range"), UtcTime::from_unix_micros(1).expect("in range"), BillingRegion::Eu),
                    quantity: Decimal::new(1, 0).expect("in range"),
                }).expect("room");
            }
            let mut sorted = sorter.finish().expect("room");
            let mut expected: Vec<(String, u64)> = ids.into_iter().zip(0..).collect();
            expected.sort();
            for _ in 0..2 {
                let mut found = Vec::new();
                sorted.scan(|key, rest| {
                    let row = CheckedRow::read(key, rest).expect("a row");
                    found.push((row.asset_id.to_owned(), row.location.to_bits()));
                    Ok(true)
                }).expect("readable");
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
