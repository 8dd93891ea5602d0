//! Sorting more rows than memory holds: a buffer that is sorted and spilled to temporary files, which are merged.

use std::io;

use super::{codec::CheckedRow, runs::Runs};

/// The memory limit before rows are spilled to disk.
const DEFAULT_BUFFER_BYTES: usize = 32 << 20;

/// Collects rows in any order.
pub(super) struct Sorter {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Runs,
    limit: usize,
}

/// Rows in the order of their keys. They can be scanned several times.
pub(super) struct Sorted {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Runs,
}

/// Some of the rows, in order.
pub(super) enum Part<'s> {
    Memory { bytes: &'s [u8], entries: &'s [Entry] },
    Runs(&'s Runs),
}

/// The position of a row in the buffer: the key, followed by the rest.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    start: u32,
    rest: u32,
    end: u32,
}

// === impl Sorter ===

impl Sorter {
    /// A sorter that takes at most so many bytes of disk.
    pub(super) fn new(max_disk_bytes: u64) -> Self {
        Self::with_buffer(DEFAULT_BUFFER_BYTES, Runs::new(max_disk_bytes))
    }

    fn with_buffer(limit: usize, runs: Runs) -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), runs, limit }
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
        self.runs.finish()?;
        Ok(Sorted { bytes: self.bytes, entries: self.entries, runs: self.runs })
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_unstable_by_key(|entry| entry.all(bytes));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let bytes = &self.bytes;
        self.runs.add(self.entries.iter().map(|entry| (entry.key(bytes), entry.rest(bytes))))?;
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

// === impl Part ===

impl Part<'_> {
    /// Calls `each` with the key and the rest of every row, until it returns `false`.
    pub(super) fn scan(&self, mut each: impl FnMut(&[u8], &[u8]) -> io::Result<bool>) -> io::Result<()> {
        match self {
            Self::Memory { bytes, entries } => {
                for entry in *entries {
                    if !each(entry.key(bytes), entry.rest(bytes))? {
                        break;
                    }
                }
                Ok(())
            }
            Self::Runs(runs) => runs.scan(each),
        }
    }
}

// === impl Sorted ===

impl Sorted {
    /// Calls `each` with the key and the rest of every row, until it returns `false`.
    pub(super) fn scan(&self, each: impl FnMut(&[u8], &[u8]) -> io::Result<bool>) -> io::Result<()> {
        self.all().scan(each)
    }

    fn all(&self) -> Part<'_> {
        if self.runs.is_empty() {
            Part::Memory { bytes: &self.bytes, entries: &self.entries }
        } else {
            Part::Runs(&self.runs)
        }
    }

    /// The rows in two parts of about the same size, for a thread each; all in one, where they are fewer than `worth_it` or in
    /// files. Rows are in one part where `together` makes the same of their keys.
    pub(super) fn halves(&self, worth_it: usize, together: impl Fn(&[u8]) -> &[u8]) -> Vec<Part<'_>> {
        if !self.runs.is_empty() || self.entries.len() < worth_it {
            return vec![self.all()];
        }
        let key = |entry: &Entry| together(entry.key(&self.bytes));
        let middle = self.entries.len() / 2;
        let rest = &self.entries[middle..];
        let before = self.entries[..middle].last();
        let same = before.map_or(0, |last| rest.iter().take_while(|entry| key(entry) == key(last)).count());
        let (first, second) = self.entries.split_at(middle + same);
        [first, second].into_iter().map(|entries| Part::Memory { bytes: &self.bytes, entries }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::{codec::LOAD_BYTES, record_location::RecordLocation};
    use crate::model::{AssetType, BillingRegion, Decimal, RecordDimensions, TenantId, UtcTime};

    fn letter(key: &[u8]) -> &[u8] {
        &key[..LOAD_BYTES + 2]
    }

    proptest! {
        #[test]
        fn spilling_changes_nothing(ids in prop::collection::vec("[a-z]{1,8}", 0..200), limit in 64_usize..4000) {
            let mut sorter = Sorter::with_buffer(limit, Runs::new(u64::MAX).with_max_runs(3));
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
            let sorted = sorter.finish().expect("room");
            prop_assert!(sorted.runs.count() <= 3);
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
            // In parts, too, and those with the same first letter are in one. A key begins with tenant, day and type.
            let mut found = Vec::new();
            let mut letters = Vec::new();
            for part in sorted.halves(2, letter) {
                letters.push(std::collections::BTreeSet::new());
                part.scan(|key, rest| {
                    letters.last_mut().expect("one").insert(letter(key).to_vec());
                    let row = CheckedRow::read(key, rest).expect("a row");
                    found.push((row.asset_id.to_owned(), row.location.to_bits()));
                    Ok(true)
                }).expect("readable");
            }
            prop_assert_eq!(&found, &expected);
            prop_assert!(letters.len() <= 2 && (letters.len() < 2 || letters[0].is_disjoint(&letters[1])));
        }
    }
}
