//! Digests of the lists of a statement, made line by line.

use sha2::{Digest as _, Sha256};

/// SHA-256 over the canonical forms of a list's entries, each with a line feed behind it.
#[derive(Clone, Default)]
pub struct ListDigest {
    sha256: Sha256,
    count: u32,
}

impl ListDigest {
    /// Adds an entry in its canonical form.
    pub fn add(&mut self, canonical: &str) {
        self.sha256.update(canonical);
        self.sha256.update(b"\n");
        self.count += 1;
    }

    /// How many entries there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn finish(self) -> [u8; 32] {
        self.sha256.finalize().into()
    }
}
