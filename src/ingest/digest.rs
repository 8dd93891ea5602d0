//! Digests of loads: SHA-256 of their records as lines of the report (LF, no header), in report order.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::{
    contract::{CsvFormat, CsvWriter},
    model::{DigestVersion, LoadDigest, UsageRecord, Value},
};

/// Digests the records of a load, in every version that it may turn out to have.
pub(super) struct Digester {
    versions: Vec<(DigestVersion, CsvWriter<Hasher>)>,
    /// The columns that hold all that the records have.
    needed: usize,
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Digester {
    fn default() -> Self {
        let lines = |version: DigestVersion| {
            let hasher = Hasher(Sha256::new());
            (version, CsvWriter::of_columns(hasher, CsvFormat::default(), version.columns()))
        };
        Self { versions: DigestVersion::all().map(lines).collect(), needed: 0 }
    }
}

impl Digester {
    pub(super) fn add(&mut self, record: &UsageRecord) -> io::Result<()> {
        let values = record.values();
        let first = DigestVersion::FIRST.columns().len();
        let later = values.iter().skip(first).rposition(|value| *value != Value::Unset);
        self.needed = self.needed.max(later.map_or(first, |last| first + last + 1));
        self.versions.iter_mut().try_for_each(|(_, lines)| lines.write_values(&values))
    }

    pub(super) fn finish(self) -> io::Result<LoadDigest> {
        let needed = self.needed;
        let mut versions = self.versions.into_iter().filter(|(version, _)| version.columns().len() >= needed);
        let (version, lines) = versions.next().ok_or_else(|| io::Error::other("no version has all columns"))?;
        Ok(LoadDigest { version, sha256: lines.into_inner()?.0.finalize().into() })
    }
}
