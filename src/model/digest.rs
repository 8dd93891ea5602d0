//! What tells the contents of loads apart.

use super::Column;

/// A canonical form of records. What a version digests never changes, so a column that is added later changes no digest of what
/// was delivered before: a load has the lowest version whose columns hold all that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestVersion {
    /// The fourteen columns of the report's first version.
    V1 = 1,
}

/// A digest of the records of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadDigest {
    pub version: DigestVersion,
    pub sha256: [u8; 32],
}

impl DigestVersion {
    /// What a line of the canonical form holds.
    pub fn columns(self) -> &'static [Column] {
        const ALL: &[Column] = &Column::ALL;
        match self {
            Self::V1 => ALL.split_at(14).0,
        }
    }

    /// The number in the database.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The version of a number in the database.
    pub fn from_number(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            _ => None,
        }
    }
}
