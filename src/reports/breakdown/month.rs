//! Reads a month of a tenant: what the groups of its lines add up to, and that they add up to the lines.

use std::sync::Arc;

use super::{
    aside::aside,
    assets::NamedAssets,
    budget::GroupBudget,
    groups::{GroupSums, LineNumbers, MAX_GROUPS},
    rows::MonthRows,
    selection::Selection,
    tenant_bill::TenantBill,
};
use crate::{
    auth::TenantScope,
    reports::{ReportError, blocks::BlockReader, manifest},
    store::{Load, Meters, RecordFilter, Store, StoreError, VisibleTenant},
};

/// Reads months of tenants, one after the other.
pub(in crate::reports) struct MonthReader {
    store: Store,
    scope: TenantScope,
    meters: Meters,
    selection: Arc<Selection>,
    budget: GroupBudget,
}

// === impl MonthReader ===

impl MonthReader {
    pub(super) fn new(
        store: Store,
        scope: TenantScope,
        meters: Meters,
        selection: Selection,
        budget: GroupBudget,
    ) -> Self {
        Self { store, scope, meters, selection: Arc::new(selection), budget }
    }

    /// Reads what assets cost.
    pub(in crate::reports) fn by_asset(store: Store, scope: TenantScope, meters: Meters, budget: GroupBudget) -> Self {
        Self::new(store, scope, meters, Selection::by_asset(), budget)
    }

    /// The rows of a month, whose lines must have usage.
    pub(in crate::reports) async fn read(&self, month: TenantBill) -> Result<MonthRows, ReportError> {
        if self.selection.groups.is_empty() || !month.lines.iter().any(|line| self.selection.passes_line(line)) {
            return Ok(MonthRows::of_lines(month.lines, Arc::clone(&self.selection)));
        }
        let tenant = self.store.find_tenant(&self.scope, month.report.tenant_id).await?;
        let tenant = tenant.visible().map_err(ReportError::TenantNotFound)?;
        let loads = self.store.loads_in_force(&tenant, month.report.month, month.snapshot).await?;
        if loads.iter().any(|load| load.is_purged) {
            return Err(ReportError::Purged);
        }
        if manifest::revision(tenant.id(), month.report.month, &loads) != month.report.revision {
            let (tenant, month) = (tenant.id(), month.report.month);
            let what = format!("the bill of tenant {tenant} in {month} is not of the revision of its detail");
            return Err(StoreError::Corrupt(what).into());
        }
        let loads: Arc<[Load]> = loads.into();
        let mut reader = BlockReader::new(
            self.store.clone(),
            (tenant.clone(), month.report.month),
            Arc::clone(&loads),
            RecordFilter::default(),
            (0, 0),
        );
        match self.sum(&mut reader, &tenant, &loads, month).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(reader.explain(error).await),
        }
    }

    async fn sum(
        &self,
        reader: &mut BlockReader,
        tenant: &VisibleTenant,
        loads: &[Load],
        month: TenantBill,
    ) -> Result<MonthRows, ReportError> {
        let numbers = LineNumbers::new(self.meters.clone(), &month.lines, |line| self.selection.passes_line(line))?;
        let mut sums = GroupSums::new(self.selection.groups, numbers, MAX_GROUPS);
        let mut permit = self.budget.permit();
        while let Some(range) = reader.next(0).await? {
            let load = loads.get(range.load).ok_or_else(|| StoreError::corrupt("blocks of no load"))?;
            for block in &range.blocks {
                sums.add(block, (load.usage_day, load.published_at))?;
            }
            permit.cover(sums.len())?;
        }
        let kept = sums.len();
        let (assets, ranks) = match sums.take_assets() {
            Some(assets) => {
                let (named, ranks) = assets.resolve(&self.store, tenant, kept, &mut permit).await?;
                (named, Some(ranks))
            }
            None => (NamedAssets::default(), None),
        };
        let selection = Arc::clone(&self.selection);
        let check = move || {
            let groups = sums.sorted(ranks.as_deref());
            for (number, line) in month.lines.iter().enumerate() {
                if selection.passes_line(line) {
                    groups.check(number, line)?;
                }
            }
            Ok(MonthRows::of_groups(month.lines, groups, assets, selection, permit))
        };
        aside(check).await?
    }
}
