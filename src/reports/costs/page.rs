//! The lines of a page.

use std::{cmp::Ordering, collections::HashMap};

use super::{CostLine, TenantMonth};
use crate::{
    model::{BillingRegion, Month, TenantId},
    reports::PageSize,
};

/// The approximate size limit of a page: clients refuse messages of more than 4 MiB by default.
const MAX_BYTES: usize = 2 << 20;

/// A line, by what lines are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinePosition {
    pub(super) month: Month,
    pub(super) tenant_name: String,
    pub(super) tenant_id: TenantId,
    pub(super) meter_name: String,
    pub(super) billing_region: BillingRegion,
}

/// Takes lines, in order, until it is full.
pub(super) struct Page {
    size: PageSize,
    bytes: usize,
    /// The last line of the page before.
    after: Option<LinePosition>,
    lines: Vec<CostLine>,
    reports: Vec<TenantMonth>,
    has_more: bool,
}

// === impl LinePosition ===

impl LinePosition {
    fn cmp_line(&self, line: &CostLine) -> Ordering {
        let own =
            (self.month, self.tenant_name.as_str(), self.tenant_id, self.meter_name.as_str(), self.billing_region);
        own.cmp(&(line.month, line.tenant_name.as_str(), line.tenant_id, line.meter.name.as_str(), line.billing_region))
    }
}

// === impl Page ===

impl Page {
    pub(super) fn new(size: PageSize, after: Option<LinePosition>) -> Self {
        Self { size, bytes: 0, after, lines: Vec::new(), reports: Vec::new(), has_more: false }
    }

    /// Takes a line that has room, and the report that it comes from.
    pub(super) fn take(&mut self, line: CostLine, reports: &HashMap<(Month, TenantId), TenantMonth>) {
        if self.has_more || self.after.as_ref().is_some_and(|after| after.cmp_line(&line).is_ge()) {
            return;
        }
        self.bytes += size_of_line(&line);
        let is_full = self.lines.len() == usize::from(self.size.get()) || self.bytes > MAX_BYTES;
        if is_full && !self.lines.is_empty() {
            self.has_more = true;
            return;
        }
        let key = (line.month, line.tenant_id);
        if self.reports.last().is_none_or(|last| (last.month, last.tenant_id) != key) {
            self.reports.extend(reports.get(&key).cloned());
        }
        self.lines.push(line);
    }

    /// Whether there was a line without room.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// The lines, and the reports that they come from.
    pub(super) fn into_parts(self) -> (Vec<CostLine>, Vec<TenantMonth>) {
        (self.lines, self.reports)
    }
}

fn size_of_line(line: &CostLine) -> usize {
    let names = line.tenant_name.len() + line.plan.len() + 2 * line.meter.name.len() + line.meter.unit.len();
    // Fixed fields, also of an unpriced meter and of the tenant's month; then names and tiers.
    768 + names + 256 * line.tiers.len()
}
