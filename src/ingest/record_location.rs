//! Where records stand in a delivery.

/// The line of a file, or the number of a record in a stream; and which of a delivery's files it is. In order of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordLocation(u64);

/// A file may have so many lines, and a delivery some 16 million files.
const NUMBER_BITS: u32 = 40;

/// What the places of a delivery are called.
#[derive(Clone, Debug)]
pub(super) enum LocationNames {
    /// Records of a stream, from 0.
    Records,
    /// Lines of these files, from 1.
    Lines(Vec<String>),
}

// === impl RecordLocation ===

impl RecordLocation {
    pub(super) fn new(input: usize, number: u64) -> Self {
        Self((input as u64) << NUMBER_BITS | (number & ((1 << NUMBER_BITS) - 1)))
    }

    /// Which of the inputs, from 0.
    pub(super) fn input(self) -> usize {
        usize::try_from(self.0 >> NUMBER_BITS).unwrap_or(usize::MAX)
    }

    /// The line or the number.
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
    /// A place as seen from another one.
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
