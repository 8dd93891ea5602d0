//! Locations of records in a delivery.

/// The index of an input, and the line of a file or the number of a record in a stream. Sorts in the order of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordLocation(u64);

/// Limits a file to 2^40 lines and a delivery to some 16 million files.
const NUMBER_BITS: u32 = 40;

/// How locations are named in messages.
#[derive(Clone, Debug)]
pub(super) enum LocationNames {
    /// By the number of the record in the stream, from 0.
    Records,
    /// By the line in one of these files, from 1.
    Lines(Vec<String>),
}

// === impl RecordLocation ===

impl RecordLocation {
    pub(super) fn new(input: usize, number: u64) -> Self {
        Self((input as u64) << NUMBER_BITS | (number & ((1 << NUMBER_BITS) - 1)))
    }

    pub(super) fn input(self) -> usize {
        usize::try_from(self.0 >> NUMBER_BITS).unwrap_or(usize::MAX)
    }

    /// The line, or the number of the record.
    pub(super) fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

// === impl LocationNames ===

impl LocationNames {
    /// The name of a location. The file is named only if it differs from that of `from`.
    pub(super) fn name(&self, location: RecordLocation, from: RecordLocation) -> String {
        match self {
            Self::Records => format!("record {}", location.number()),
            Self::Lines(files) => match files.get(location.input()) {
                Some(file) if location.input() != from.input() => format!("line {} of {file}", location.number()),
                _ => format!("line {}", location.number()),
            },
        }
    }
}
