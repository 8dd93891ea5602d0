//! The rows of a tenant's month, made when they are wanted: of a line at a time, its cost is shared among its groups.

use std::{ops::Range, sync::Arc};

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use super::{
    CostShare,
    aside::aside,
    assets::NamedAssets,
    budget::GroupPermit,
    group_key::GroupKey,
    groups::{GroupTotal, SortedGroups},
    selection::Selection,
};
use crate::{
    model::{AssetType, CostGroup},
    reports::{
        CostLine, ReportError,
        shares::{CostShares, share_cost},
    },
    store::StoreError,
};

/// How many groups are shared among without leaving the thread.
const FEW: usize = 4096;

pub(in crate::reports) struct MonthRows {
    lines: Vec<Arc<CostLine>>,
    selection: Arc<Selection>,
    /// `None`: rows are the lines.
    groups: Option<Arc<Groups>>,
    /// The line whose rows come next.
    line: usize,
    /// Of that line, once its first row is wanted.
    shared: Option<SharedLine>,
}

struct Groups {
    sorted: SortedGroups,
    assets: NamedAssets,
    /// Whether rows of an asset, or of a type, are wanted, by its number in keys; `None`: all are.
    wanted: Option<Vec<bool>>,
    _permit: GroupPermit,
}

/// A line whose cost is shared.
struct SharedLine {
    shares: Option<CostShares>,
    /// The number of the next group among those of the line.
    next: usize,
    /// The groups from that one on.
    left: Range<usize>,
}

// === impl MonthRows ===

impl MonthRows {
    /// Rows that are the lines.
    pub(super) fn of_lines(lines: Vec<CostLine>, selection: Arc<Selection>) -> Self {
        Self::new(lines, selection, None)
    }

    pub(super) fn of_groups(
        lines: Vec<CostLine>,
        sorted: SortedGroups,
        assets: NamedAssets,
        selection: Arc<Selection>,
        permit: GroupPermit,
    ) -> Self {
        let wanted = selection.is_by_asset().then(|| wanted_assets(&selection, &assets));
        Self::new(lines, selection, Some(Arc::new(Groups { sorted, assets, wanted, _permit: permit })))
    }

    fn new(lines: Vec<CostLine>, selection: Arc<Selection>, groups: Option<Arc<Groups>>) -> Self {
        let lines = lines.into_iter().map(Arc::new).collect();
        Self { lines, selection, groups, line: 0, shared: None }
    }

    /// The rows of the same usage with other costs: lines with the same meters and regions in the same order.
    pub(in crate::reports) fn with_lines(&self, lines: Vec<CostLine>) -> Self {
        Self::new(lines, Arc::clone(&self.selection), self.groups.clone())
    }

    /// At most so many of the next rows; none at the end.
    pub(in crate::reports) async fn next(&mut self, room: usize) -> Result<Vec<CostShare>, ReportError> {
        let mut rows = Vec::new();
        while rows.len() < room
            && let Some(line) = self.lines.get(self.line).cloned()
        {
            if !self.selection.passes_line(&line) {
                self.line += 1;
                continue;
            }
            let Some(groups) = self.groups.clone() else {
                rows.push(whole(line));
                self.line += 1;
                continue;
            };
            let shared = match self.shared.take() {
                Some(shared) => shared,
                None => share(Arc::clone(&groups), self.line, Arc::clone(&line)).await?,
            };
            self.shared = self.take_rows(&groups, &line, shared, room, &mut rows)?;
            if self.shared.is_none() {
                self.line += 1;
            }
        }
        Ok(rows)
    }

    /// Takes rows of a line as long as there is room; returns the line if it has more.
    fn take_rows(
        &self,
        groups: &Groups,
        line: &Arc<CostLine>,
        mut shared: SharedLine,
        room: usize,
        rows: &mut Vec<CostShare>,
    ) -> Result<Option<SharedLine>, ReportError> {
        while rows.len() < room {
            let Some(total) = groups.sorted.next(&mut shared.left) else { return Ok(None) };
            let number = shared.next;
            shared.next += 1;
            if groups.wants(total.key) {
                let cost = shared.shares.as_ref().map(|shares| shares.get(number).ok_or_else(|| lacks("share")));
                rows.push(self.row(groups, line, &total, cost.transpose()?)?);
            }
        }
        Ok(Some(shared))
    }

    fn row(
        &self,
        groups: &Groups,
        line: &Arc<CostLine>,
        total: &GroupTotal,
        cost: Option<BigDecimal>,
    ) -> Result<CostShare, StoreError> {
        let parts = total.key.parts();
        let has = |group| self.selection.groups.contains(group);
        let asset = if has(CostGroup::Asset) {
            Some(groups.assets.get(parts.asset).ok_or_else(|| lacks("asset"))?)
        } else {
            None
        };
        let asset_type = match &asset {
            Some(asset) => Some(asset.asset_type),
            None if has(CostGroup::AssetType) => {
                let asset_type = AssetType::from_code(parts.asset.cast_signed());
                Some(asset_type.ok_or_else(|| lacks("asset type"))?)
            }
            None => None,
        };
        let usage_day = if has(CostGroup::UsageDay) {
            let (year, month) = (line.month.year(), line.month.number());
            Some(NaiveDate::from_ymd_opt(year, month, parts.day).ok_or_else(|| lacks("day"))?)
        } else {
            None
        };
        Ok(CostShare {
            line: Arc::clone(line),
            asset_type,
            asset,
            usage_day,
            platform: parts.platform,
            quantity: total.billable.total(),
            trial_quantity: total.trial.total(),
            cost,
            record_count: i64::try_from(total.record_count).unwrap_or(i64::MAX),
        })
    }
}

// === impl Groups ===

impl Groups {
    fn wants(&self, key: GroupKey) -> bool {
        let asset = key.parts().asset as usize;
        self.wanted.as_ref().is_none_or(|wanted| wanted.get(asset) == Some(&true))
    }
}

/// Whether the rows of each asset are wanted, or of each type where they are not by asset.
fn wanted_assets(selection: &Selection, assets: &NamedAssets) -> Vec<bool> {
    if selection.groups.contains(CostGroup::Asset) {
        return assets.identities().map(|(asset_type, id)| selection.passes_asset(asset_type, Some(id))).collect();
    }
    let types = (0..=AssetType::MAX_CODE).map(|code| AssetType::from_code(code.into()));
    types.map(|of| of.is_some_and(|asset_type| selection.passes_asset(asset_type, None))).collect()
}

fn lacks(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a group has no {what}"))
}

/// Shares the cost of a line among its groups.
async fn share(groups: Arc<Groups>, number: usize, line: Arc<CostLine>) -> Result<SharedLine, ReportError> {
    let left = groups.sorted.range(number);
    let Some(cost) = line.cost.clone() else { return Ok(SharedLine { shares: None, next: 0, left }) };
    let quantities: Vec<_> = groups.sorted.of_line(number).map(|total| total.billable).collect();
    let shares = if quantities.len() <= FEW {
        share_cost(&cost, &quantities)
    } else {
        aside(move || share_cost(&cost, &quantities)).await?
    };
    let shares = shares.ok_or_else(|| StoreError::Corrupt("a line without usage has a cost".to_owned()))?;
    Ok(SharedLine { shares: Some(shares), next: 0, left })
}

/// A line as a row of its own.
fn whole(line: Arc<CostLine>) -> CostShare {
    CostShare {
        asset_type: None,
        asset: None,
        usage_day: None,
        platform: None,
        quantity: line.quantity.clone(),
        trial_quantity: line.trial_quantity.clone(),
        cost: line.cost.clone(),
        record_count: line.record_count,
        line,
    }
}
