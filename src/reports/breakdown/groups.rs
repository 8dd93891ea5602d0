//! Adds up records by group, without making rows of them.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, ops::Range};

use chrono::{Datelike as _, NaiveDate};

use super::{
    assets::AssetSlots,
    group_key::{GroupKey, GroupParts},
};
use crate::{
    model::{BillingRegion, CompactSum, CostGroup, CostGroups, Decimal, MeterId, UtcTime},
    reports::{CostLine, ReportError},
    store::{MeterKey, Meters, RecordBlock, StoreError, StoredDimensions},
};

/// How many groups, and how many assets, a month of a tenant may have.
pub(super) const MAX_GROUPS: usize = 1_000_000;

/// What the records of a tenant's month add up to, as far as they are read.
pub(super) struct GroupSums {
    groups: CostGroups,
    lines: LineNumbers,
    sums: SumTable,
    /// Where groups are by asset.
    assets: Option<AssetSlots>,
    /// How many groups, and how many assets, there may be.
    limit: usize,
}

/// The lines of a month, by what records say of them.
pub(super) struct LineNumbers {
    meters: Meters,
    numbers: HashMap<(MeterId, BillingRegion), LineNumber>,
    /// Blocks name few meters and regions.
    known: Vec<((MeterKey, BillingRegion), LineNumber)>,
}

#[derive(Clone, Copy)]
struct LineNumber {
    number: u32,
    is_wanted: bool,
}

/// Sums by key.
#[derive(Default)]
struct SumTable {
    slots: HashMap<GroupKey, u32>,
    sums: Vec<Sum>,
    /// Where the last record was added.
    last: Option<(GroupKey, usize)>,
}

#[derive(Clone, Default)]
struct Sum {
    quantity: CompactSum,
    record_count: u64,
}

/// All sums of a month, in the order of rows.
pub(super) struct SortedGroups {
    order: Vec<(GroupKey, u32)>,
    sums: Vec<Sum>,
}

/// What a row adds up to.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupTotal {
    pub(super) key: GroupKey,
    pub(super) billable: CompactSum,
    pub(super) trial: CompactSum,
    pub(super) record_count: u64,
}

// === impl GroupSums ===

impl GroupSums {
    pub(super) fn new(groups: CostGroups, lines: LineNumbers, limit: usize) -> Self {
        let assets = groups.contains(CostGroup::Asset).then(AssetSlots::default);
        Self { groups, lines, sums: SumTable::default(), assets, limit }
    }

    /// Adds the records of a block, which are of a day and were delivered at a time. Blocks come in the order of the report.
    pub(super) fn add(
        &mut self,
        block: &RecordBlock,
        (usage_day, delivered): (NaiveDate, UtcTime),
    ) -> Result<(), ReportError> {
        let keys = block.dimensions().iter().map(|stored| self.key(stored, usage_day));
        let keys: Vec<Option<GroupKey>> = keys.collect::<Result<_, _>>()?;
        let sums = &mut self.sums;
        if let Some(assets) = &mut self.assets {
            assets.begin(delivered);
            block.visit(|asset, dimensions, quantity| {
                // Assets of records that are not wanted count, too: they say how an asset is named.
                let asset = assets.slot(asset);
                if let Some(key) = keys[dimensions] {
                    sums.add(key.with_asset(asset), quantity);
                }
            })?;
        } else {
            let slots: Vec<Option<usize>> = keys.into_iter().map(|key| key.map(|key| sums.slot(key))).collect();
            block.visit(|_, dimensions, quantity| {
                if let Some(slot) = slots[dimensions] {
                    sums.sums[slot].add(quantity);
                }
            })?;
        }
        if self.sums.sums.len().max(self.asset_count()) > self.limit {
            return Err(ReportError::TooManyGroups);
        }
        Ok(())
    }

    /// How many groups and assets are kept.
    pub(super) fn len(&self) -> usize {
        self.sums.sums.len() + self.asset_count()
    }

    fn asset_count(&self) -> usize {
        self.assets.as_ref().map_or(0, AssetSlots::len)
    }

    /// The assets, which are to be resolved now.
    pub(super) fn take_assets(&mut self) -> Option<AssetSlots> {
        self.assets.take()
    }

    /// The group of records, without their asset; `None` where the filter leaves their line out.
    fn key(&mut self, stored: &StoredDimensions, usage_day: NaiveDate) -> Result<Option<GroupKey>, StoreError> {
        let dimensions = &stored.dimensions;
        let line = self.lines.find((dimensions.meter, dimensions.billing_region))?;
        if !line.is_wanted {
            return Ok(None);
        }
        let has = |group| self.groups.contains(group);
        // An asset has one type.
        let by_type = has(CostGroup::AssetType) && !has(CostGroup::Asset);
        Ok(Some(GroupKey::new(GroupParts {
            line: line.number,
            asset: if by_type { u32::from(stored.asset_type.code().unsigned_abs()) } else { 0 },
            day: if has(CostGroup::UsageDay) { usage_day.day() } else { 0 },
            platform: dimensions.platform.filter(|_| has(CostGroup::Platform)),
            trial: dimensions.trial,
        })))
    }

    /// Sorts the sums. `ranks`: which number takes the place of each slot of an asset.
    pub(super) fn sorted(self, ranks: Option<&[u32]>) -> SortedGroups {
        let SumTable { slots, sums, .. } = self.sums;
        let rank = |key: GroupKey| {
            let slot = usize::try_from(key.parts().asset).unwrap_or(usize::MAX);
            ranks.and_then(|ranks| ranks.get(slot)).map_or(key, |&rank| key.replace_asset(rank))
        };
        let mut order: Vec<(GroupKey, u32)> = slots.into_iter().map(|(key, slot)| (rank(key), slot)).collect();
        order.sort_unstable();
        SortedGroups { order, sums }
    }
}

// === impl LineNumbers ===

impl LineNumbers {
    /// `is_wanted`: whether the groups of a line are asked for.
    pub(super) fn new(
        meters: Meters,
        lines: &[CostLine],
        is_wanted: impl Fn(&CostLine) -> bool,
    ) -> Result<Self, StoreError> {
        if lines.len() > GroupKey::MAX_LINES {
            return Err(StoreError::Corrupt(format!("a month has {} lines", lines.len())));
        }
        let numbers = (0..).zip(lines).map(|(number, line)| {
            let key = (line.meter.id, line.billing_region);
            (key, LineNumber { number, is_wanted: is_wanted(line) })
        });
        Ok(Self { meters, numbers: numbers.collect(), known: Vec::new() })
    }

    fn find(&mut self, key: (MeterKey, BillingRegion)) -> Result<LineNumber, StoreError> {
        if let Some((_, number)) = self.known.iter().find(|(known, _)| *known == key) {
            return Ok(*number);
        }
        let meter = self.meters.get(key.0)?;
        let number = self.numbers.get(&(meter.id, key.1)).copied();
        let number = number.ok_or_else(|| StoreError::Corrupt(format!("no line has the usage of {}", meter.name)))?;
        self.known.push((key, number));
        Ok(number)
    }
}

// === impl SumTable ===

impl SumTable {
    #[inline]
    fn add(&mut self, key: GroupKey, quantity: Decimal) {
        let slot = match self.last {
            Some((last, slot)) if last == key => slot,
            _ => self.slot(key),
        };
        self.last = Some((key, slot));
        self.sums[slot].add(quantity);
    }

    fn slot(&mut self, key: GroupKey) -> usize {
        // There are far fewer than this number can count.
        let next = u32::try_from(self.sums.len()).unwrap_or(u32::MAX);
        let slot = *self.slots.entry(key).or_insert(next);
        if slot == next {
            self.sums.push(Sum::default());
        }
        slot as usize
    }
}

// === impl Sum ===

impl Sum {
    fn add(&mut self, quantity: Decimal) {
        self.quantity.add(quantity);
        self.record_count += 1;
    }
}

// === impl SortedGroups ===

impl SortedGroups {
    /// Where the groups of a line are, for [`next`](Self::next).
    pub(super) fn range(&self, line: usize) -> Range<usize> {
        let line_of = |entry: &(GroupKey, u32)| entry.0.parts().line as usize;
        let begin = self.order.partition_point(|entry| line_of(entry) < line);
        begin..self.order.partition_point(|entry| line_of(entry) <= line)
    }

    /// The next group of what is left of a line, in the order of rows. An asset that has several names is one group.
    pub(super) fn next(&self, left: &mut Range<usize>) -> Option<GroupTotal> {
        let (first, _) = self.order.get(left.clone())?.first()?;
        let mut total = GroupTotal { key: first.row(), ..GroupTotal::default() };
        while let Some((key, slot)) = self.order.get(left.clone()).and_then(<[_]>::first)
            && key.row() == total.key
        {
            let Sum { quantity, record_count } = &self.sums[*slot as usize];
            let sum = if key.parts().trial { &mut total.trial } else { &mut total.billable };
            sum.add_sum(quantity);
            total.record_count += record_count;
            left.start += 1;
        }
        Some(total)
    }

    /// The groups of a line.
    pub(super) fn of_line(&self, line: usize) -> impl Iterator<Item = GroupTotal> {
        let mut left = self.range(line);
        std::iter::from_fn(move || self.next(&mut left))
    }

    /// The promise: the groups of a line add up to it.
    pub(super) fn check(&self, line: usize, expected: &CostLine) -> Result<(), StoreError> {
        let mut found = GroupTotal::default();
        for total in self.of_line(line) {
            found.billable.add_sum(&total.billable);
            found.trial.add_sum(&total.trial);
            found.record_count += total.record_count;
        }
        let agrees = u64::try_from(expected.record_count) == Ok(found.record_count)
            && found.billable.total() == expected.quantity
            && found.trial.total() == expected.trial_quantity;
        if agrees {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!(
            "the records of tenant {} in {} do not add up to the line of {} in {}",
            expected.tenant_id, expected.month, expected.meter.name, expected.billing_region
        )))
    }
}
