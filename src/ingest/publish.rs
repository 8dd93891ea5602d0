//! Publishes prepared loads that differ from those in force: all of them or none.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, atomic::Ordering},
};

use chrono::NaiveDate;
use tokio::sync::mpsc;

use super::{
    Delivery, Import, ImportError, ImportReport, LoadReport, OmittedLoad, Prepared, UsageWarning,
    comparison::LoadComparison,
    plan::{self, Plan, PlannedLoad},
    sort::{Sorted, Sorter},
    unicode_ids::UnicodeIds,
};
use crate::{
    model::{OrganizationId, TenantId, UtcTime},
    store::{
        Coverage, ImportSession, ImportTenant, InForce, LoadKey, NewLoad, Preconditions, Publication, PublishedLoad,
        StoreError, UnicodeAsset,
    },
};

/// The maximum number of omitted loads that a report lists.
const MAX_OMITTED: u16 = 1000;

impl Import {
    /// Publishes every load that differs from the one in force: all of them, or none.
    ///
    /// # Errors
    ///
    /// Nothing was published, for instance because another import has changed a load meanwhile.
    pub async fn publish(&self, prepared: Prepared, delivery: &Delivery<'_>) -> Result<ImportReport, ImportError> {
        let Prepared { sorted, plan, record_count, mut warnings } = prepared;
        let Plan { loads, unicode_ids } = plan;
        let session = ImportSession::open(&self.store, self.source.clone()).await?;
        warnings.extend(normal_form_warning(&session, &loads, &unicode_ids).await?);
        let mut coverage = coverage(&loads, delivery.is_complete);
        let limit = (!delivery.is_complete).then_some(MAX_OMITTED);
        let (omitted, omitted_count) = session.omitted(&coverage, limit).await?;
        let with_records = loads.len();
        let mut planned = loads;
        let mut left_in_force = (Vec::new(), 0);
        if delivery.is_complete {
            let empty =
                omitted.iter().filter_map(|load| PlannedLoad::empty(load.tenant_id, load.organization_id, load.key));
            planned.extend(empty);
            coverage.omitted = omitted.iter().map(|load| load.key).collect();
        } else {
            let omitted = omitted.into_iter().map(|load| OmittedLoad {
                tenant_id: load.tenant_id,
                usage_day: load.key.usage_day,
                record_count: load.record_count,
            });
            left_in_force = (omitted.collect(), omitted_count);
        }
        let coverage = delivery.is_complete.then_some(coverage);
        let (mut loads, published_at) =
            self.publish_planned(session, sorted, (planned, with_records), coverage, delivery).await?;
        loads.sort_by_key(|load| (load.tenant_id, load.usage_day));
        let (omitted, omitted_count) = left_in_force;
        Ok(ImportReport { record_count, loads, omitted, omitted_count, warnings, published_at })
    }

    /// Withdraws the source's usage of a tenant's day: an empty load supersedes it.
    ///
    /// # Errors
    ///
    /// [`ImportError::NothingToWithdraw`] if the source has no load of the day.
    pub async fn withdraw(
        &self,
        tenant_id: TenantId,
        usage_day: NaiveDate,
        delivery: &Delivery<'_>,
    ) -> Result<ImportReport, ImportError> {
        let tenants = self.store.import_tenants(&self.scope, &[tenant_id]).await?;
        let tenant = tenants.get(&tenant_id).ok_or(ImportError::UnknownTenant)?;
        let key = LoadKey { tenant: tenant.key, usage_day };
        let nothing = || ImportError::NothingToWithdraw { source_name: self.source.clone(), usage_day };
        let session = ImportSession::open(&self.store, self.source.clone()).await?;
        if session.in_force(&[key]).await?.own(key).is_none() {
            return Err(nothing());
        }
        let planned = vec![PlannedLoad::empty(tenant_id, tenant.organization_id, key).ok_or_else(nothing)?];
        let sorted = Sorter::new(self.limits.disk_bytes).finish().map_err(ImportError::sorting)?;
        let (loads, published_at) = self.publish_planned(session, sorted, (planned, 0), None, delivery).await?;
        let (omitted, warnings) = (Vec::new(), Vec::new());
        Ok(ImportReport { record_count: 0, loads, omitted, omitted_count: 0, warnings, published_at })
    }

    /// Publishes loads. The first `with_records` ones have records, the others are empty.
    async fn publish_planned(
        &self,
        mut session: ImportSession,
        sorted: Sorted,
        (planned, with_records): (Vec<PlannedLoad>, usize),
        coverage: Option<Coverage>,
        delivery: &Delivery<'_>,
    ) -> Result<(Vec<LoadReport>, Option<UtcTime>), ImportError> {
        let keys: Vec<LoadKey> = planned.iter().map(|planned| planned.load.key).collect();
        let mut in_force = session.in_force(&keys).await?;
        let mut outcomes: Vec<PublishedLoad> =
            planned.iter().map(|planned| PublishedLoad::of(&planned.load, &in_force)).collect();
        let changed: Vec<usize> =
            (0..outcomes.len()).filter(|&index| outcomes[index] != PublishedLoad::Unchanged).collect();
        let mut published_at = None;
        if !delivery.dry_run && !changed.is_empty() {
            let preconditions = Preconditions { coverage, ..self.preconditions(&planned, &changed, in_force) };
            let wanted = changed.iter().copied().filter(|&index| index < with_records).collect();
            let loads: Vec<NewLoad> = changed.iter().map(|&index| planned[index].load.clone()).collect();
            let publication = self.write(&mut session, (sorted, wanted), &loads, &preconditions, delivery.name).await?;
            published_at = publication.published_at;
            in_force = publication.before;
            for (&index, outcome) in changed.iter().zip(publication.loads) {
                outcomes[index] = outcome;
            }
        }
        let comparison = match LoadComparison::load(&session, &planned, &outcomes, &in_force).await {
            // The import is published, even if its changes cannot be listed.
            Err(error) if published_at.is_some() => {
                tracing::warn!(%error, "the import was published, but its changes cannot be listed");
                LoadComparison::default()
            }
            comparison => comparison?,
        };
        session.end();
        Ok((comparison.reports(&planned, outcomes, self.checker.meters())?, published_at))
    }

    async fn write(
        &self,
        session: &mut ImportSession,
        (sorted, wanted): (Sorted, Vec<usize>),
        loads: &[NewLoad],
        preconditions: &Preconditions,
        name: &str,
    ) -> Result<Publication, ImportError> {
        let rows: u64 = loads.iter().map(|load| u64::try_from(load.record_count).unwrap_or(0)).sum();
        self.progress.rows_to_write.store(rows, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(4);
        let checker = Arc::clone(&self.checker);
        let reader = tokio::task::spawn_blocking(move || {
            plan::records(&sorted, &checker, &wanted, |batch| sender.blocking_send(batch).is_ok())
        });
        let progress = &self.progress;
        let publication = session
            .publish(loads, preconditions, receiver, name, &self.imported_by, |count| {
                progress.rows_written.fetch_add(count, Ordering::Relaxed);
            })
            .await;
        // The error of the reader explains more than the end of its rows.
        let context = || "sorted rows".to_owned();
        match reader.await {
            Ok(Ok(())) => Ok(publication?),
            Ok(Err(error)) => Err(ImportError::Io { context: context(), error }),
            Err(error) => Err(ImportError::Io { context: context(), error: io::Error::other(error) }),
        }
    }

    /// What the import relies on, to be checked again when it publishes.
    fn preconditions(&self, planned: &[PlannedLoad], changed: &[usize], seen: InForce) -> Preconditions {
        let unchanged = planned.iter().enumerate().filter(|(index, _)| changed.binary_search(index).is_err());
        let tenant = |planned: &PlannedLoad| ImportTenant {
            key: planned.load.key.tenant,
            organization_id: planned.organization_id,
        };
        let mut tenants: Vec<_> = planned.iter().map(tenant).collect();
        tenants.sort_by_key(|tenant| tenant.key);
        tenants.dedup_by_key(|tenant| tenant.key);
        Preconditions {
            seen,
            unchanged: unchanged.map(|(_, planned)| (planned.load.key, planned.load.digest)).collect(),
            tenants,
            meters: self.checker.meters().clone(),
            coverage: None,
        }
    }
}

/// Which days of organizations a delivery speaks of: those that it has records of. A complete one speaks of all its days
/// for all its organizations.
fn coverage(loads: &[PlannedLoad], is_complete: bool) -> Coverage {
    let mut days: Vec<(OrganizationId, NaiveDate)> =
        loads.iter().map(|planned| (planned.organization_id, planned.load.key.usage_day)).collect();
    days.sort_unstable();
    days.dedup();
    if is_complete {
        let organizations: BTreeSet<OrganizationId> = days.iter().map(|&(organization, _)| organization).collect();
        let all_days: BTreeSet<NaiveDate> = days.iter().map(|&(_, day)| day).collect();
        let of = |organization| all_days.iter().map(move |&day| (organization, day));
        days = organizations.into_iter().flat_map(of).collect();
    }
    Coverage { days, delivered: loads.iter().map(|planned| planned.load.key).collect(), omitted: Vec::new() }
}

/// The loads are ordered by tenant id.
async fn normal_form_warning(
    session: &ImportSession,
    loads: &[PlannedLoad],
    ids: &UnicodeIds,
) -> Result<Option<UsageWarning>, StoreError> {
    let assets = ids.iter().filter_map(|id| {
        let position = loads.binary_search_by_key(&id.tenant_id, |planned| planned.tenant_id).ok()?;
        let tenant = loads[position].load.key.tenant;
        Some(UnicodeAsset { tenant, asset_type: id.asset_type, id: &id.id, composed: &id.composed })
    });
    let present = session.alike_assets(&assets.collect::<Vec<_>>()).await?;
    Ok(ids.warning(&present))
}
