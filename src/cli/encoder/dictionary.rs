//! The values of a column, each once.

use std::{cmp::Ordering, hash::BuildHasher as _, ops::Range};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};

/// What the values of earlier row groups may take in memory, before they are forgotten.
const MAX_BYTES: usize = 16 << 20;
/// What a value takes beside its bytes, about.
const VALUE_BYTES: usize = 40;

/// The values of a row group, in the order in which they came. Those of the row groups before stay known, since they come again, and
/// mostly in the same order: then nothing is hashed.
pub(super) struct Dictionary {
    /// Whether each value has its length in front, as texts have.
    has_lengths: bool,
    /// All that are known, as plain encoding has them.
    bytes: Vec<u8>,
    /// Where each of these ends.
    ends: Vec<usize>,
    /// Which of the row group's values it is, if it is one of them.
    positions: Vec<Option<u32>>,
    /// Those that are known, by their hashes, which may be quick ones: they are of one report.
    known: HashTable<u32>,
    hasher: RandomState,
    /// Behind the last one that was looked up.
    next: u32,
    /// The row group's values, by their places among those that are known.
    values: Vec<u32>,
    /// The same of the row group before.
    before: Vec<u32>,
    /// How many bytes the values have.
    size: usize,
    /// The least and the greatest of all that are known.
    extremes: Option<(u32, u32)>,
}

// === impl Dictionary ===

impl Dictionary {
    pub(super) fn new(has_lengths: bool) -> Self {
        Self {
            has_lengths,
            bytes: Vec::new(),
            ends: Vec::new(),
            positions: Vec::new(),
            known: HashTable::new(),
            hasher: RandomState::default(),
            next: 0,
            values: Vec::new(),
            before: Vec::new(),
            size: 0,
            extremes: None,
        }
    }

    /// The position of a value, which is added if it is new.
    pub(super) fn position(&mut self, value: &[u8]) -> u32 {
        let place = if self.ends.len() > self.next as usize && self.at(self.next) == value {
            self.next
        } else {
            self.place(value)
        };
        self.next = place + 1;
        let Self { positions, values, .. } = self;
        *positions[place as usize].get_or_insert_with(|| {
            // Fewer than the records of a row group.
            let position = values.len() as u32;
            values.push(place);
            self.size += value.len();
            position
        })
    }

    /// Where a value is among those that are known, of which it is one from now on.
    fn place(&mut self, value: &[u8]) -> u32 {
        let Self { has_lengths, bytes, ends, positions, known, hasher, .. } = self;
        let of = |place: u32| at(*has_lengths, bytes, ends, place);
        let hash = |value: &[u8]| hasher.hash_one(value);
        match known.entry(hash(value), |&known| of(known) == value, |&known| hash(of(known))) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(room) => {
                // Fewer than bytes may be.
                let place = ends.len() as u32;
                room.insert(place);
                if *has_lengths {
                    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                }
                bytes.extend_from_slice(value);
                ends.push(bytes.len());
                positions.push(None);
                let is = |known: u32, order| at(*has_lengths, bytes, ends, known).cmp(value) == order;
                self.extremes = Some(match self.extremes {
                    None => (place, place),
                    Some((least, most)) if is(least, Ordering::Greater) => (place, most),
                    Some((least, most)) if is(most, Ordering::Less) => (least, place),
                    Some(extremes) => extremes,
                });
                place
            }
        }
    }

    /// The least and the greatest value, as bytes are compared. Where these are the least and the greatest that are known, and often
    /// they are, no others are looked at.
    pub(super) fn extremes(&self) -> Option<(&[u8], &[u8])> {
        let (least, most) = self.extremes?;
        let if_there = |place: u32| self.positions[place as usize].map(|_| self.at(place));
        let least = if_there(least).or_else(|| self.values().min())?;
        let most = if_there(most).or_else(|| self.values().max())?;
        Some((least, most))
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// How many bytes of memory its values take, about.
    pub(super) fn memory(&self) -> usize {
        self.size + self.len() * VALUE_BYTES
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(|&place| self.at(place))
    }

    /// Its values, as plain encoding has them.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.size + self.len() * size_of::<u32>());
        // Those that came in the same order before stand together.
        for run in self.values.chunk_by(|&place, &next| place + 1 == next) {
            let [first, last] = [run[0], run[run.len() - 1]].map(|place| range(&self.ends, place));
            plain.extend_from_slice(&self.bytes[first.start..last.end]);
        }
        plain
    }

    /// Whether it has values, and the same ones, in the same order, as for the row group before.
    pub(super) fn is_as_before(&self) -> bool {
        !self.values.is_empty() && self.values == self.before
    }

    fn at(&self, place: u32) -> &[u8] {
        at(self.has_lengths, &self.bytes, &self.ends, place)
    }

    /// Begins with the next row group.
    pub(super) fn clear(&mut self) {
        if self.bytes.len() + self.ends.len() * VALUE_BYTES > MAX_BYTES {
            *self = Self::new(self.has_lengths);
        } else {
            self.values.iter().for_each(|&place| self.positions[place as usize] = None);
            std::mem::swap(&mut self.values, &mut self.before);
            self.values.clear();
            (self.next, self.size) = (0, 0);
        }
    }
}

fn at<'a>(has_lengths: bool, bytes: &'a [u8], ends: &[usize], place: u32) -> &'a [u8] {
    let value = &bytes[range(ends, place)];
    if has_lengths { &value[size_of::<u32>()..] } else { value }
}

/// Where a value stands, with its length if it has one.
fn range(ends: &[usize], place: u32) -> Range<usize> {
    let place = place as usize;
    place.checked_sub(1).map_or(0, |before| ends[before])..ends[place]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_there_once_in_each_row_group(
            groups in prop::collection::vec((prop::collection::vec(0..40_u32, 0..60), 1..3_usize), 1..5),
            has_lengths in any::<bool>(),
        ) {
            // Some come twice.
            let groups = groups.into_iter().flat_map(|(group, times)| vec![group; times]);
            let mut dictionary = Dictionary::new(has_lengths);
            let mut before: Vec<Vec<u8>> = Vec::new();
            for group in groups {
                let mut expected: Vec<Vec<u8>> = Vec::new();
                for number in group {
                    // Of several lengths, and one of none.
                    let value = number.to_le_bytes()[..(number % 5) as usize].to_vec();
                    let position = expected.iter().position(|known| *known == value).unwrap_or_else(|| {
                        expected.push(value.clone());
                        expected.len() - 1
                    });
                    prop_assert_eq!(dictionary.position(&value) as usize, position);
                }
                prop_assert_eq!(dictionary.len(), expected.len());
                prop_assert_eq!(dictionary.memory(), expected.concat().len() + 40 * expected.len());
                prop_assert!(dictionary.values().eq(expected.iter().map(Vec::as_slice)));
                let extremes = expected.iter().min().zip(expected.iter().max());
                prop_assert_eq!(dictionary.extremes(), extremes.map(|(least, most)| (&least[..], &most[..])));
                let plain = expected.iter().flat_map(|value| {
                    let length = if has_lengths { vec![value.len() as u8, 0, 0, 0] } else { Vec::new() };
                    [length, value.clone()].concat()
                });
                prop_assert_eq!(dictionary.plain(), plain.collect::<Vec<u8>>());
                prop_assert_eq!(dictionary.is_as_before(), !expected.is_empty() && expected == before);
                before = expected;
                dictionary.clear();
            }
        }
    }

    #[test]
    fn what_takes_too_much_is_forgotten() {
        let mut dictionary = Dictionary::new(true);
        let value = |n: u8| vec![n; MAX_BYTES / 2];
        assert_eq!([0, 1, 0].map(|n| dictionary.position(&value(n))), [0, 1, 0]);
        dictionary.clear();
        assert!(dictionary.bytes.is_empty());
        assert_eq!([1, 0].map(|n| dictionary.position(&value(n))), [0, 1]);
    }
}
