//! The lines and adjustments of a page.

use std::cmp::Ordering;

use super::{CostAdjustment, CostLine};
use crate::{
    model::{BillingRegion, Month, TenantId},
    reports::PageSize,
};

/// The approximate size limit of a page: clients refuse messages of more than 4 MiB by default.
const MAX_BYTES: usize = 2 << 20;

/// What a bill consists of, in the order in which pages show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// Lines of statements.
    Billed,
    /// Lines of open months.
    Open,
    /// Adjustments of statements.
    BilledAdjustments,
    /// Adjustments of closed months that the next statement will have.
    Adjustments,
}

/// The last line or adjustment of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) section: Section,
    /// Of the statement, or of the usage.
    pub(super) month: Month,
    /// The number in the statement; 0 where there is none.
    pub(super) number: i32,
    /// Where there is no number.
    pub(super) names: Option<LineNames>,
}

/// What lines of a month are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineNames {
    pub(super) tenant_name: String,
    pub(super) tenant: TenantId,
    pub(super) meter_name: String,
    pub(super) billing_region: BillingRegion,
}

/// Takes lines and adjustments, in order, until it is full.
pub(super) struct Page {
    size: PageSize,
    bytes: usize,
    /// The last entry of the page before.
    after: Option<Position>,
    lines: Vec<CostLine>,
    adjustments: Vec<CostAdjustment>,
    /// The section, month and number of the last entry.
    last: Option<(Section, Month, i32)>,
    has_more: bool,
}

// === impl LineNames ===

impl LineNames {
    fn cmp_line(&self, line: &CostLine) -> Ordering {
        let own = (self.tenant_name.as_str(), self.tenant, self.meter_name.as_str(), self.billing_region);
        own.cmp(&(line.tenant_name.as_str(), line.tenant_id, line.meter.name.as_str(), line.billing_region))
    }
}

// === impl Position ===

impl Position {
    /// Whether an entry comes at or before it.
    fn includes(&self, section: Section, month: Month, number: i32, line: &CostLine) -> bool {
        let order = (self.section, self.month, self.number).cmp(&(section, month, number));
        order.then_with(|| self.names.as_ref().map_or(Ordering::Equal, |names| names.cmp_line(line))).is_ge()
    }
}

// === impl Page ===

impl Page {
    pub(super) fn new(size: PageSize, after: Option<Position>) -> Self {
        Self { size, bytes: 0, after, lines: Vec::new(), adjustments: Vec::new(), last: None, has_more: false }
    }

    /// The number of the entry of a statement after which the page begins or goes on; `None`: it has none of them.
    pub(super) fn after(&self, section: Section, month: Month) -> Option<i32> {
        let Some(after) = &self.after else { return Some(0) };
        match (after.section, after.month).cmp(&(section, month)) {
            Ordering::Less => Some(0),
            Ordering::Equal => Some(after.number),
            Ordering::Greater => None,
        }
    }

    /// The tenant's month that adjustments without a number go on in.
    pub(super) fn first_adjustment(&self) -> Option<(Month, TenantId)> {
        let after = self.after.as_ref().filter(|after| after.section == Section::Adjustments)?;
        Some((after.month, after.names.as_ref()?.tenant))
    }

    /// Whether nothing of a section is on the page.
    pub(super) fn is_past(&self, section: Section) -> bool {
        self.has_more || self.after.as_ref().is_some_and(|after| after.section > section)
    }

    /// Takes a line that has room, or says that there is none. `number`: in its statement.
    pub(super) fn take_line(&mut self, section: Section, number: i32, line: CostLine) -> bool {
        let has_room = self.has_room(section, line.month, number, &line);
        if has_room {
            self.lines.push(line);
        }
        has_room
    }

    /// Takes an adjustment that has room. `number`: in its statement.
    pub(super) fn take_adjustment(&mut self, section: Section, number: i32, adjustment: CostAdjustment) {
        let month = if number > 0 { adjustment.billing_month } else { adjustment.line.month };
        if self.has_room(section, month, number, &adjustment.line) {
            self.adjustments.push(adjustment);
        }
    }

    fn has_room(&mut self, section: Section, month: Month, number: i32, line: &CostLine) -> bool {
        if self.has_more || self.after.as_ref().is_some_and(|after| after.includes(section, month, number, line)) {
            return false;
        }
        self.bytes += size_of_line(line);
        let count = self.lines.len() + self.adjustments.len();
        let is_full = count == usize::from(self.size.get()) || self.bytes > MAX_BYTES;
        self.has_more = is_full && count > 0;
        if !self.has_more {
            self.last = Some((section, month, number));
        }
        !self.has_more
    }

    /// Whether there was an entry without room.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// The section, month and number of the last entry.
    pub(super) fn last(&self) -> Option<(Section, Month, i32, &CostLine)> {
        let (section, month, number) = self.last?;
        let line = match section {
            Section::Billed | Section::Open => self.lines.last(),
            Section::BilledAdjustments | Section::Adjustments => {
                self.adjustments.last().map(|adjustment| &adjustment.line)
            }
        };
        Some((section, month, number, line?))
    }

    pub(super) fn lines(&self) -> &[CostLine] {
        &self.lines
    }

    pub(super) fn into_parts(self) -> (Vec<CostLine>, Vec<CostAdjustment>) {
        (self.lines, self.adjustments)
    }
}

fn size_of_line(line: &CostLine) -> usize {
    let names = line.tenant_name.len() + line.plan.len() + 2 * line.meter.name.len() + line.meter.unit.len();
    // Fixed fields, also of an unpriced meter, of an adjustment and of the tenant's month; then names and tiers.
    1024 + names + 256 * line.tiers.len()
}
