//! Digests of loads.

use super::Column;

/// A canonical form of records: lines of the columns that there were in that version. What a version digests never changes, so a
/// column that is added later changes no digest of what was delivered before: a load has the lowest version whose columns hold
/// all that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestVersion(i16);

/// A digest of the records of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadDigest {
    pub version: DigestVersion,
    pub sha256: [u8; 32],
}

impl DigestVersion {
    pub const FIRST: Self = Self(1);

    /// Every version, in order: a column is in its own and all later ones.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::FIRST.0..=Column::ALL[Column::COUNT - 1].since()).map(Self)
    }

    /// The columns of a line.
    pub fn columns(self) -> &'static [Column] {
        const ALL: &[Column] = &Column::ALL;
        let count = ALL.iter().take_while(|column| column.since() <= self.0).count();
        &ALL[..count]
    }

    /// The number in the database.
    pub fn number(self) -> i16 {
        self.0
    }

    /// The version of a number in the database.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::all().find(|version| version.0 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_columns_that_there_were() {
        assert!(Column::ALL.map(Column::since).is_sorted(), "later columns come last");
        assert_eq!(DigestVersion::FIRST.columns().len(), 14);
        assert_eq!(DigestVersion::all().last().map(DigestVersion::columns), Some(&Column::ALL[..]));
        assert_eq!(DigestVersion::from_number(0), None);
        assert_eq!(DigestVersion::from_number(1), Some(DigestVersion::FIRST));
    }
}
