//! What the lines of each month add up to, over all pages.

use std::{collections::BTreeMap, sync::Arc};

use bigdecimal::BigDecimal;
use quick_cache::sync::Cache;

use super::{CostLine, CostTotal};
use crate::model::{Currency, Month, MonthRange, UtcTime};

/// How many bills are remembered while their pages are read. One has at most [`MonthRange::MAX_MONTHS`] sums.
const CAPACITY: usize = 1000;

/// Of bills that have several pages, what the first page has found: the others need not go over all lines again.
pub struct CostTotals(Cache<Bill, Arc<[CostTotal]>>);

/// A bill that never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bill {
    /// Of which database.
    pub(super) epoch: u64,
    pub(super) query: [u8; 8],
    pub(super) snapshot: UtcTime,
    pub(super) names: i64,
}

/// The sum of each month's lines; months without lines have one, too.
pub(super) struct Sums(BTreeMap<Month, BigDecimal>);

// === impl CostTotals ===

impl Default for CostTotals {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl CostTotals {
    pub(super) fn get(&self, bill: &Bill) -> Option<Arc<[CostTotal]>> {
        self.0.get(bill)
    }

    pub(super) fn keep(&self, bill: Bill, totals: &Arc<[CostTotal]>) {
        self.0.insert(bill, Arc::clone(totals));
    }
}

// === impl Sums ===

impl Sums {
    pub(super) fn new(months: MonthRange, currency: Currency) -> Self {
        Self(months.iter().map(|month| (month, currency.zero())).collect())
    }

    pub(super) fn add(&mut self, line: &CostLine) {
        if let (Some(sum), Some(cost)) = (self.0.get_mut(&line.month), &line.cost) {
            *sum += cost;
        }
    }

    pub(super) fn totals(self) -> Arc<[CostTotal]> {
        self.0.into_iter().map(|(month, cost)| CostTotal { month, cost }).collect()
    }
}
