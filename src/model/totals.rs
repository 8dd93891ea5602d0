//! Totals of records by meter, region and trial, for imports, reports and downloads.

use std::{collections::HashMap, hash::Hash};

use bigdecimal::BigDecimal;

use super::{Decimal, DecimalSum, UsageKey};

/// How many keys are compared before one is hashed.
const COMPARED_KEYS: usize = 12;

/// The total of the records of a key.
#[derive(Clone, Debug, Default)]
pub struct Total {
    pub record_count: u64,
    pub quantity: DecimalSum,
}

/// Totals by key, in the order of first occurrence.
#[derive(Clone, Debug)]
pub struct Totals<M> {
    entries: Vec<(UsageKey<M>, Total)>,
    slots: HashMap<UsageKey<M>, usize>,
    /// Where the last record was added: records of a key often follow each other.
    last: usize,
}

/// A difference from expected totals.
#[derive(Clone, Debug, PartialEq)]
pub enum TotalsMismatch<M> {
    /// The keys differ.
    Keys,
    /// The total of a key differs.
    Total { key: UsageKey<M>, found: (u64, BigDecimal), expected: (u64, BigDecimal) },
}

// === impl Totals ===

impl<M> Default for Totals<M> {
    fn default() -> Self {
        Self { entries: Vec::new(), slots: HashMap::new(), last: 0 }
    }
}

impl<M: Clone + Eq + Hash> Totals<M> {
    pub fn add(&mut self, key: &UsageKey<M>, quantity: Decimal) {
        if self.entries.get(self.last).is_none_or(|(last, _)| last != key) {
            self.last = self.slot(key);
        }
        self.add_to(self.last, quantity);
    }

    /// The slot of a key, for [`add_to`](Self::add_to).
    pub fn slot(&mut self, key: &UsageKey<M>) -> usize {
        // Comparing a few keys is faster than hashing one.
        let first = self.entries.iter().take(COMPARED_KEYS).position(|(known, _)| known == key);
        if let Some(slot) = first.or_else(|| self.slots.get(key).copied()) {
            return slot;
        }
        let slot = self.entries.len();
        self.entries.push((key.clone(), Total::default()));
        self.slots.insert(key.clone(), slot);
        slot
    }

    /// Adds a record to a [`slot`](Self::slot).
    pub fn add_to(&mut self, slot: usize, quantity: Decimal) {
        let (_, total) = &mut self.entries[slot];
        total.record_count += 1;
        total.quantity.add(quantity);
    }

    /// Starts a key from an earlier total.
    pub fn resume(&mut self, key: &UsageKey<M>, record_count: u64, quantity: BigDecimal) {
        let slot = self.slot(key);
        self.entries[slot].1 = Total { record_count, quantity: DecimalSum::from_total(quantity) };
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&UsageKey<M>, &Total)> {
        self.entries.iter().map(|(key, total)| (key, total))
    }

    /// Of all keys together.
    pub fn record_count(&self) -> u64 {
        self.entries.iter().map(|(_, total)| total.record_count).sum()
    }

    /// Compares the totals with expected ones.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn check(
        &self,
        expected: impl ExactSizeIterator<Item = (UsageKey<M>, u64, BigDecimal)>,
    ) -> Result<(), TotalsMismatch<M>> {
        if expected.len() != self.entries.len() {
            return Err(TotalsMismatch::Keys);
        }
        for (key, record_count, quantity) in expected {
            let total = self.slots.get(&key).map(|&slot| &self.entries[slot].1);
            let found = total.map_or_else(Default::default, |total| (total.record_count, total.quantity.total()));
            if found != (record_count, quantity.clone()) {
                return Err(TotalsMismatch::Total { key, found, expected: (record_count, quantity) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::BillingRegion;

    fn key(meter: u8, region: i32, trial: bool) -> UsageKey<u8> {
        UsageKey { meter, billing_region: BillingRegion::from_code(region).expect("a region"), trial }
    }

    #[test]
    fn a_difference_is_named() {
        let (one, other) = (key(1, 1, false), key(2, 1, false));
        let amount = |number: u128| Decimal::new(number, 0).expect("in range");
        let big = |number: u128| amount(number).to_big();
        let mut totals = Totals::default();
        totals.add(&one, amount(3));
        totals.resume(&one, 7, big(10));
        totals.add(&one, amount(1));
        assert_eq!(totals.check([(one, 8, big(11))].into_iter()), Ok(()));
        assert_eq!(totals.check([].into_iter()), Err(TotalsMismatch::Keys));
        for (key, count, quantity) in [(one, 7, 11), (one, 8, 12), (other, 8, 11)] {
            let found = if key == one { (8, big(11)) } else { (0, big(0)) };
            let expected = (count, big(quantity));
            let difference = TotalsMismatch::Total { key, found, expected };
            assert_eq!(totals.check([(key, count, big(quantity))].into_iter()), Err(difference));
        }
    }

    proptest! {
        /// Against a sorted map of integers.
        #[test]
        fn records_add_up(records in prop::collection::vec((0..4_u8, 1..=4, any::<bool>(), 0..1000_u128), 0..60)) {
            let mut totals = Totals::default();
            let mut expected: BTreeMap<UsageKey<u8>, (u64, u128)> = BTreeMap::new();
            for (meter, region, trial, number) in records {
                let key = key(meter, region, trial);
                totals.add(&key, Decimal::new(number, 2).expect("in range"));
                let (count, sum) = expected.entry(key).or_default();
                (*count, *sum) = (*count + 1, *sum + number);
            }
            prop_assert_eq!(totals.record_count(), expected.values().map(|(count, _)| count).sum::<u64>());
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(key, (count, sum))| (key, count, Decimal::new(sum, 2).expect("in range").to_big()))
                .collect();
            prop_assert_eq!(totals.check(expected.into_iter()), Ok(()));
        }
    }
}
