//! The largest of many, of which only so many are kept.

use bigdecimal::BigDecimal;

/// Items by amount, the largest first. Of equal ones, the first that came is the larger.
#[derive(Clone, Debug)]
pub(super) struct Largest<T> {
    limit: usize,
    items: Vec<(BigDecimal, T)>,
}

// === impl Largest ===

impl<T> Largest<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, items: Vec::new() }
    }

    pub(super) fn add(&mut self, amount: BigDecimal, item: T) {
        let place = self.items.partition_point(|(other, _)| *other >= amount);
        if place < self.limit {
            self.items.insert(place, (amount, item));
            self.items.truncate(self.limit);
        }
    }

    /// Adds what another one has.
    pub(super) fn merge(&mut self, other: Self) {
        other.items.into_iter().for_each(|(amount, item)| self.add(amount, item));
    }

    pub(super) fn into_items(self) -> impl Iterator<Item = T> {
        self.items.into_iter().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against sorting everything.
        #[test]
        fn the_largest_are_kept(amounts in prop::collection::vec(0..20_u32, 0..40), split in 0..40_usize, limit in 0..12_usize) {
            let numbered = || amounts.iter().copied().zip(0..);
            let mut sorted: Vec<(u32, usize)> = numbered().collect();
            sorted.sort_by_key(|&(amount, number)| (std::cmp::Reverse(amount), number));
            let expected: Vec<usize> = sorted.into_iter().take(limit).map(|(_, number)| number).collect();
            let mut parts = [Largest::new(limit), Largest::new(limit)];
            for (amount, number) in numbered() {
                parts[usize::from(number >= split)].add(amount.into(), number);
            }
            let [mut largest, rest] = parts;
            largest.merge(rest);
            prop_assert_eq!(largest.into_items().collect::<Vec<_>>(), expected);
        }
    }
}
