//! The assets whose shares of the costs differ most, found tenant by tenant.

use std::collections::{BTreeMap, HashMap};

use bigdecimal::{BigDecimal, Zero as _};

use super::{AssetsLeftOut, MovedAsset, lines::LinePair};
use crate::{
    model::{Asset, AssetType, BillingRegion, Currency, MeterId, Month, TenantId},
    reports::{
        CostLine, CostShare, ReportError, TenantMonth,
        breakdown::{GroupPermit, MonthReader, MonthRows, TenantBill},
        costs::{compute::tenant_months, document::read_report},
        largest::Largest,
    },
    store::{ComparedBills, ComparedPart, CostTenant, SidePart, SnapshotTime, StoreError},
};

/// How many assets of a tenant are added up.
const MAX_ASSETS: usize = 500_000;
/// How many rows are taken at once.
const ROWS: usize = 512;
/// An asset takes as much memory as so many groups of a breakdown.
const GROUPS_OF_ASSET: usize = 3;

/// Keeps those that differ most.
pub(super) struct AssetMovements {
    reader: MonthReader,
    currency: Currency,
    permit: GroupPermit,
    largest: Largest<MovedAsset>,
    left_out: Option<AssetsLeftOut>,
}

/// What the assets of a tenant cost, in the base and the target.
struct AssetCosts {
    currency: Currency,
    assets: BTreeMap<(AssetType, Box<str>), AssetCost>,
}

struct AssetCost {
    name: Box<str>,
    costs: [BigDecimal; 2],
}

// === impl AssetMovements ===

impl AssetMovements {
    pub(super) fn new(reader: MonthReader, currency: Currency, permit: GroupPermit, count: u16) -> Self {
        Self { reader, currency, permit, largest: Largest::new(count.into()), left_out: None }
    }

    /// Looks at the assets of some tenants.
    pub(super) async fn add(
        &mut self,
        part: &ComparedPart,
        bills: &ComparedBills,
        pairs: Vec<LinePair>,
    ) -> Result<(), ReportError> {
        let [base, target] = &bills.sides;
        let is_same_usage = (base.month, base.snapshot()) == (target.month, target.snapshot());
        let reports = [reports(&part.sides[0], base.month)?, reports(&part.sides[1], target.month)?];
        let mut pairs = pairs.into_iter().peekable();
        for (position, tenant) in part.tenants.iter().enumerate() {
            let of_tenant: Vec<LinePair> =
                std::iter::from_fn(|| pairs.next_if(|pair| pair.tenant == position)).collect();
            // Without another usage, the shares of a line differ where its cost does.
            let differs = |pair: &LinePair| {
                let cost = |side: usize| pair.lines[side].as_ref().map(|line| &line.cost);
                !is_same_usage || cost(0) != cost(1)
            };
            if self.left_out.is_some() || !of_tenant.iter().any(differs) {
                continue;
            }
            let mut lines = [Vec::new(), Vec::new()];
            for pair in of_tenant {
                lines.iter_mut().zip(pair.lines).for_each(|(lines, line)| lines.extend(line));
            }
            let [base_lines, target_lines] = lines;
            let months = [
                tenant_bill(&reports[0], tenant, base.snapshot(), base_lines)?,
                tenant_bill(&reports[1], tenant, target.snapshot(), target_lines)?,
            ];
            let none = AssetCosts { currency: self.currency, assets: BTreeMap::new() };
            let costs = read_tenant(&self.reader, months, is_same_usage, &mut self.permit, none).await;
            match costs {
                Ok(costs) => self.keep(tenant, costs),
                Err(ReportError::Purged) => self.left_out = Some(AssetsLeftOut::Purged),
                Err(ReportError::Overloaded) => self.left_out = Some(AssetsLeftOut::Overloaded),
                Err(ReportError::TooManyGroups) => self.left_out = Some(AssetsLeftOut::TooMany),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn keep(&mut self, tenant: &CostTenant, costs: AssetCosts) {
        for ((asset_type, id), AssetCost { name, costs }) in costs.assets {
            let amount = (&costs[1] - &costs[0]).abs();
            if !amount.is_zero() {
                let asset = Asset { asset_type, id: id.into(), name: name.into() };
                self.largest.add(amount, MovedAsset { tenant: tenant.clone(), asset, costs });
            }
        }
    }

    /// The assets, the most first, or why there are none.
    pub(super) fn finish(self) -> Result<Vec<MovedAsset>, AssetsLeftOut> {
        match self.left_out {
            Some(left_out) => Err(left_out),
            None => Ok(self.largest.into_items().collect()),
        }
    }
}

/// The reports that the lines of a side come from.
fn reports(part: &SidePart, month: Month) -> Result<HashMap<TenantId, TenantMonth>, StoreError> {
    match part {
        SidePart::Usage(part) => {
            Ok(tenant_months(part).into_iter().map(|((_, tenant), report)| (tenant, report)).collect())
        }
        SidePart::Statement { reports, .. } => {
            let read = |content: &String| read_report(content, month).map(|report| (report.tenant_id, report));
            reports.iter().map(read).collect()
        }
        SidePart::Nothing => Ok(HashMap::new()),
    }
}

/// The lines of a tenant, ready to be shared; `None`: there are none.
fn tenant_bill(
    reports: &HashMap<TenantId, TenantMonth>,
    tenant: &CostTenant,
    snapshot: SnapshotTime,
    lines: Vec<CostLine>,
) -> Result<Option<TenantBill>, StoreError> {
    if lines.is_empty() {
        return Ok(None);
    }
    let report = reports.get(&tenant.id).cloned();
    let report = report.ok_or_else(|| StoreError::corrupt("a bill has lines of no report"))?;
    Ok(Some(TenantBill { report, snapshot, lines }))
}

/// What the assets of a tenant cost in both bills.
async fn read_tenant(
    reader: &MonthReader,
    [base, mut target]: [Option<TenantBill>; 2],
    is_same_usage: bool,
    permit: &mut GroupPermit,
    mut costs: AssetCosts,
) -> Result<AssetCosts, ReportError> {
    if let Some(base) = base {
        // The records need not be read twice.
        let reused = target.take_if(|target| is_same_usage && keys(&base.lines).eq(keys(&target.lines)));
        let mut rows = reader.read(base).await?;
        let mut other = reused.map(|target| rows.with_lines(target.lines));
        costs.add(&mut rows, 0, permit).await?;
        if let Some(rows) = &mut other {
            costs.add(rows, 1, permit).await?;
        }
    }
    if let Some(target) = target {
        costs.add(&mut reader.read(target).await?, 1, permit).await?;
    }
    Ok(costs)
}

/// What the lines are of.
fn keys(lines: &[CostLine]) -> impl Iterator<Item = (MeterId, BillingRegion)> {
    lines.iter().map(|line| (line.meter.id, line.billing_region))
}

// === impl AssetCosts ===

impl AssetCosts {
    async fn add(&mut self, rows: &mut MonthRows, side: usize, permit: &mut GroupPermit) -> Result<(), ReportError> {
        loop {
            let shares = rows.next(ROWS).await?;
            if shares.is_empty() {
                return Ok(());
            }
            for CostShare { asset, cost, .. } in shares {
                let asset = asset.ok_or_else(|| StoreError::corrupt("a share of no asset"))?;
                let entry = self.assets.entry((asset.asset_type, asset.id.into()));
                let zero = || self.currency.zero();
                let entry = entry.or_insert_with(|| AssetCost { name: "".into(), costs: [zero(), zero()] });
                entry.costs[side] += cost.unwrap_or_default();
                // The target comes last, so its name stays.
                entry.name = asset.name.into();
            }
            if self.assets.len() > MAX_ASSETS {
                return Err(ReportError::TooManyGroups);
            }
            permit.cover(self.assets.len() * GROUPS_OF_ASSET)?;
        }
    }
}
