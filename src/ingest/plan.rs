//! Groups sorted rows into loads, and reads the records of a load.

use std::{collections::BTreeMap, io, panic::resume_unwind, sync::Arc, thread::ScopedJoinHandle};

use bigdecimal::BigDecimal;

use super::{
    BATCH_ROWS, Checker,
    codec::{CheckedRow, load_of},
    digest::Digester,
    findings::Findings,
    limits::ImportTooLarge,
    record_location::{LocationNames, RecordLocation},
    sort::{Part, Sorted},
    tenants::Tenants,
    unicode_ids::UnicodeIds,
};
use crate::{
    model::{Asset, Month, OrganizationId, TenantId, Totals, UsageKey, UsageRecord, plain},
    store::{LoadKey, MeterKey, Meters, NewLoad, NewTotal, RecordToWrite, StoreError},
};

/// So many rows are planned in two parts.
const WORTH_A_THREAD: usize = 10_000;

/// The loads of an import, ordered by tenant id and day.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) loads: Vec<PlannedLoad>,
    pub(super) unicode_ids: UnicodeIds,
}

/// A load, with what its tenant is besides a key.
pub(super) struct PlannedLoad {
    pub(super) tenant_id: TenantId,
    pub(super) organization_id: OrganizationId,
    pub(super) load: NewLoad,
}

/// A load whose rows are being read.
struct OpenLoad {
    tenant_id: TenantId,
    organization_id: OrganizationId,
    key: LoadKey,
    month: Month,
    record_count: i32,
    digester: Digester,
    /// The meter by its position in the order of names.
    totals: Totals<u32>,
}

/// Shares an [`Asset`] between consecutive rows.
#[derive(Default)]
struct LastAsset(Option<Arc<Asset>>);

impl LastAsset {
    fn of(&mut self, row: &CheckedRow<'_>) -> Arc<Asset> {
        let cached = self.0.as_ref().filter(|asset| {
            asset.asset_type == row.asset_type && asset.id == row.asset_id && asset.name == row.asset_name
        });
        if let Some(asset) = cached {
            return Arc::clone(asset);
        }
        let asset = Arc::new(Asset {
            asset_type: row.asset_type,
            id: row.asset_id.to_owned(),
            name: row.asset_name.to_owned(),
        });
        self.0 = Some(Arc::clone(&asset));
        asset
    }
}

/// What loads are planned with.
pub(super) struct Planner<'a> {
    pub(super) checker: &'a Checker,
    pub(super) tenants: &'a Tenants,
    pub(super) location_names: &'a LocationNames,
    pub(super) max_loads: usize,
    /// Whether somebody waits for the plan.
    pub(super) is_wanted: &'a (dyn Fn() -> bool + Sync),
}

// === impl Planner ===

impl Planner<'_> {
    /// Adds up every load, and finds duplicate rows: in two parts at once.
    pub(super) fn plan(&self, sorted: &Sorted, findings: &mut Findings) -> io::Result<Plan> {
        let parts = sorted.halves(WORTH_A_THREAD, load_of);
        let planned: Vec<io::Result<(Plan, Findings)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = parts.iter().map(|part| scope.spawn(|| self.plan_part(part))).collect();
            let joined = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            threads.into_iter().map(joined).collect()
        });
        let mut plan = Plan::default();
        for part in planned {
            let (Plan { loads, unicode_ids }, found) = part?;
            plan.loads.extend(loads);
            plan.unicode_ids.extend(unicode_ids);
            findings.extend(found);
        }
        if plan.loads.len() > self.max_loads {
            return Err(ImportTooLarge::Loads(self.max_loads).into());
        }
        Ok(plan)
    }

    fn plan_part(&self, part: &Part<'_>) -> io::Result<(Plan, Findings)> {
        let mut findings = Findings::default();
        let mut plan = Plan::default();
        let mut open: Option<OpenLoad> = None;
        let mut assets = LastAsset::default();
        let mut previous = Previous::default();
        part.scan(|key, rest| {
            if !(self.is_wanted)() {
                return Err(io::Error::other("nobody waits for it any more"));
            }
            let row = CheckedRow::read(key, rest).ok_or_else(broken)?;
            if let Some(location) = previous.location.filter(|_| previous.key == key) {
                let reason = format!(
                    "has the same asset, meter, period, region, platform and trial as {}; add up the quantities, or give \
                     each row its own period",
                    self.location_names.name(location, row.location)
                );
                findings.refuse(row.location, "assetId", row.asset_id, &reason);
                return Ok(true);
            }
            if load_of(&previous.key) != load_of(key) {
                plan.loads.extend(open.take().map(|load| load.close(self.checker)).transpose()?);
                if plan.loads.len() == self.max_loads {
                    return Err(ImportTooLarge::Loads(self.max_loads).into());
                }
            }
            previous.set(key, row.location);
            let load = match &mut open {
                Some(load) => load,
                none => none.insert(OpenLoad::new(&row, self.tenants)?),
            };
            load.add(&row, assets.of(&row), self.checker)?;
            plan.unicode_ids.add(&row);
            Ok(true)
        })?;
        plan.loads.extend(open.map(|load| load.close(self.checker)).transpose()?);
        Ok((plan, findings))
    }
}

#[derive(Default)]
struct Previous {
    key: Vec<u8>,
    /// `None` before the first row.
    location: Option<RecordLocation>,
}

impl Previous {
    fn set(&mut self, key: &[u8], location: RecordLocation) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.location = Some(location);
    }
}

// === impl PlannedLoad ===

impl PlannedLoad {
    /// A load without records, for a day that is withdrawn.
    pub(super) fn empty(tenant_id: TenantId, organization_id: OrganizationId, key: LoadKey) -> Option<Self> {
        let digest = Digester::default().finish().ok()?;
        let month = Month::of(key.usage_day)?;
        let load = NewLoad { key, month, digest, record_count: 0, totals: Vec::new() };
        Some(Self { tenant_id, organization_id, load })
    }
}

// === impl OpenLoad ===

impl OpenLoad {
    fn new(row: &CheckedRow<'_>, tenants: &Tenants) -> io::Result<Self> {
        let usage_day = row.dimensions.start.day();
        let tenant = tenants.get(row.tenant_id).ok_or_else(broken)?;
        Ok(Self {
            tenant_id: row.tenant_id,
            organization_id: tenant.organization_id,
            key: LoadKey { tenant: tenant.key, usage_day },
            month: Month::of(usage_day).ok_or_else(broken)?,
            record_count: 0,
            digester: Digester::default(),
            totals: Totals::default(),
        })
    }

    fn add(&mut self, row: &CheckedRow<'_>, asset: Arc<Asset>, checker: &Checker) -> io::Result<()> {
        let (_, meter) = checker.meters().at(row.dimensions.meter as usize).ok_or_else(broken)?;
        let UsageKey { meter: &position, billing_region, trial } = row.dimensions.usage_key();
        self.totals.add(&UsageKey { meter: position, billing_region, trial }, row.quantity);
        self.record_count =
            self.record_count.checked_add(1).ok_or_else(|| io::Error::other("a load has more than 2^31 rows"))?;
        self.digester.add(&UsageRecord {
            organization_id: self.organization_id,
            tenant_id: row.tenant_id,
            asset,
            dimensions: row.dimensions.clone().with_meter(Arc::clone(meter)),
            quantity: row.quantity,
        })
    }

    fn close(self, checker: &Checker) -> io::Result<PlannedLoad> {
        let totals = self.totals.iter().map(|(key, total)| {
            let &(meter, _) = checker.meters().at(key.meter as usize).ok_or_else(broken)?;
            let UsageKey { billing_region, trial, .. } = *key;
            // At most the number of records of the load.
            let record_count = i32::try_from(total.record_count).map_err(io::Error::other)?;
            Ok(NewTotal {
                key: UsageKey { meter, billing_region, trial },
                quantity: total.quantity.total(),
                record_count,
            })
        });
        let mut totals = totals.collect::<io::Result<Vec<_>>>()?;
        totals.sort_by_key(|total| total.key);
        Ok(PlannedLoad {
            tenant_id: self.tenant_id,
            organization_id: self.organization_id,
            load: NewLoad {
                key: self.key,
                month: self.month,
                digest: self.digester.finish()?,
                record_count: self.record_count,
                totals,
            },
        })
    }
}

/// Hands the records of the loads at the positions `wanted` (in order) to `send` in batches, until it says `false`.
pub(super) fn records(
    sorted: &Sorted,
    checker: &Checker,
    wanted: &[usize],
    mut send: impl FnMut(Vec<RecordToWrite>) -> bool,
) -> io::Result<()> {
    let mut assets = LastAsset::default();
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut load_key: Vec<u8> = Vec::new();
    let mut position: Option<usize> = None;
    let mut target: Option<usize> = None;
    let mut row_number = 0;
    sorted.scan(|key, rest| {
        if position.is_none() || load_of(key) != load_key {
            load_key.clear();
            load_key.extend_from_slice(load_of(key));
            let next = position.map_or(0, |position| position + 1);
            position = Some(next);
            target = wanted.binary_search(&next).ok();
            row_number = 0;
        }
        let Some(load) = target else { return Ok(true) };
        row_number += 1;
        let row = CheckedRow::read(key, rest).ok_or_else(broken)?;
        let &(meter, _) = checker.meters().at(row.dimensions.meter as usize).ok_or_else(broken)?;
        batch.push(RecordToWrite {
            load,
            row_number,
            dimensions: row.dimensions.clone().with_meter(meter),
            asset: assets.of(&row),
            quantity: row.quantity,
        });
        if batch.len() < BATCH_ROWS {
            return Ok(true);
        }
        Ok(send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS))))
    })?;
    if !batch.is_empty() {
        send(batch);
    }
    Ok(())
}

/// Per meter, by name: the quantity that a load superseded, and its own.
pub(super) fn compare_quantities(
    load: &NewLoad,
    before: impl Iterator<Item = (MeterKey, BigDecimal)>,
    meters: &Meters,
) -> Result<Vec<(String, String, String)>, StoreError> {
    let mut sums: BTreeMap<usize, (BigDecimal, BigDecimal)> = BTreeMap::new();
    for (meter, quantity) in before {
        sums.entry(meters.position(meter)?).or_default().0 += quantity;
    }
    for total in &load.totals {
        sums.entry(meters.position(total.key.meter)?).or_default().1 += &total.quantity;
    }
    let named = sums.into_iter().filter_map(|(position, (before, after))| {
        let (_, meter) = meters.at(position)?;
        Some((meter.name.clone(), plain(&before), plain(&after)))
    });
    Ok(named.collect())
}

/// Rows come back as they were put, unless a file of ours was damaged.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file for sorting is damaged")
}
