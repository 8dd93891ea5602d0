//! What the lines of each month add up to, over all pages.

use std::{collections::BTreeMap, sync::Arc};

use bigdecimal::BigDecimal;
use quick_cache::sync::Cache;

use super::{BillState, CostAdjustment, CostLine, CostTotal};
use crate::model::{Currency, Month, MonthRange, StatementNumber, UtcTime};

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
}

/// The sums of each month's lines and adjustments; months without any have them, too.
pub(super) struct Sums(BTreeMap<Month, CostTotal>);

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
    /// `closed_until`: the last month that is closed.
    pub(super) fn new(months: MonthRange, currency: Currency, closed_until: Option<Month>) -> Self {
        let total = |month| {
            let state = if Some(month) <= closed_until { BillState::Closed } else { BillState::Open };
            let (cost, adjustment) = (currency.zero(), currency.zero());
            (month, CostTotal { month, cost, adjustment, state, statement: None })
        };
        Self(months.iter().map(total).collect())
    }

    /// What a statement bills.
    pub(super) fn set(&mut self, number: StatementNumber, [cost, adjustment]: [BigDecimal; 2]) {
        if let Some(total) = self.0.get_mut(&number.billing_month) {
            total.cost += cost;
            total.adjustment += adjustment;
            total.statement = Some(number);
        }
    }

    pub(super) fn add(&mut self, line: &CostLine) {
        if let (Some(total), Some(cost)) = (self.0.get_mut(&line.month), &line.cost) {
            total.cost += cost;
        }
    }

    pub(super) fn adjust(&mut self, adjustment: &CostAdjustment) {
        if let Some(total) = self.0.get_mut(&adjustment.billing_month) {
            total.adjustment += &adjustment.amount;
        }
    }

    pub(super) fn totals(self) -> Arc<[CostTotal]> {
        self.0.into_values().collect()
    }
}
