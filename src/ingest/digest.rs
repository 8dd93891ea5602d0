//! Digests of loads: SHA-256 of their records as lines of the report (LF, no header), in report order.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::{
    contract::{CsvFormat, CsvWriter},
    model::{DigestVersion, LoadDigest, UsageRecord},
};

/// Digests the records of a load.
pub(super) struct Digester(CsvWriter<Hasher>);

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
        let lines = CsvWriter::of_columns(Hasher(Sha256::new()), CsvFormat::default(), DigestVersion::V1.columns());
        Self(lines)
    }
}

impl Digester {
    /// Adds the next record.
    pub(super) fn add(&mut self, record: &UsageRecord) -> io::Result<()> {
        self.0.write(record)
    }

    pub(super) fn finish(self) -> io::Result<LoadDigest> {
        let sha256 = self.0.into_inner()?.0.finalize().into();
        Ok(LoadDigest { version: DigestVersion::V1, sha256 })
    }
}
