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

/// The position of a row in the buffer: the key, followed by the rest.
#[derive(Clone, Copy)]
struct Entry {
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
        self.runs.scan(each)
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
            let mut sorted = sorter.finish().expect("room");
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
        }
    }
}
