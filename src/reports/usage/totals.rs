//! What a report must add up to, and whether it does.

use std::sync::Arc;

use super::{UsageHeader, UsageReport, UsageTotal};
use crate::{
    model::UsageKey,
    reports::ReportError,
    store::{Load, MeterKey, Store, StoreError, StoredTotal, VisibleTenant},
};

/// Why not all totals of loads are there. Records that are missing from both the totals and the stream would not be noticed.
pub(super) async fn missing_totals(store: &Store, tenant: &VisibleTenant, loads: &[Load]) -> ReportError {
    match store.are_purged(tenant, loads).await {
        Ok(true) => ReportError::Purged,
        Ok(false) => StoreError::unavailable("what was published is not all there: is it a standby?").into(),
        Err(error) => error.into(),
    }
}

impl UsageReport {
    /// What the records must add up to, ordered by meter name, region and trial.
    pub(super) async fn stored_totals(&self) -> Result<Vec<(MeterKey, UsageTotal)>, ReportError> {
        let Self { store, header: UsageHeader { tenant, .. }, loads, .. } = self;
        let stored = self.totals_of(loads).await?;
        let Some(stored) = stored else { return Err(missing_totals(store, tenant, loads).await) };
        let mut totals = stored
            .into_iter()
            .map(|total| {
                let record_count = u64::try_from(total.record_count)
                    .map_err(|_| StoreError::Corrupt("a total has a negative count".to_owned()))?;
                let named = UsageTotal {
                    meter: Arc::clone(self.meters.get(total.key.meter)?),
                    billing_region: total.key.billing_region,
                    trial: total.key.trial,
                    quantity: total.quantity,
                    record_count,
                };
                Ok((total.key.meter, named))
            })
            .collect::<Result<Vec<_>, ReportError>>()?;
        totals.sort_by(|(_, a), (_, b)| {
            (&a.meter.name, a.billing_region, a.trial).cmp(&(&b.meter.name, b.billing_region, b.trial))
        });
        Ok(totals)
    }

    /// What the records of some of the loads add up to; `None` where some are missing.
    pub(super) async fn totals_of(&self, loads: &[Load]) -> Result<Option<Vec<StoredTotal>>, StoreError> {
        let Self { store, header: UsageHeader { tenant, month, .. }, filter, .. } = self;
        if filter.is_by_asset() {
            return store.added_up_totals(tenant, *month, loads, filter).await;
        }
        store.stored_totals(tenant, loads, filter).await
    }

    /// The promise: the records add up to the totals that bills are made from. A stream that was resumed has not read
    /// them all, so there only the count is held against them; its reader, who has them all, checks the rest.
    pub(super) fn check_totals(&self) -> Result<(), StoreError> {
        let whole = self.header.resumed_record_count == 0;
        let agrees = if whole {
            let expected = self.totals.iter().map(|(meter, total)| {
                let key = UsageKey { meter: *meter, billing_region: total.billing_region, trial: total.trial };
                (key, total.record_count, total.quantity.clone())
            });
            self.read_totals.check(expected).is_ok()
        } else {
            self.position.records_before == self.header.record_count
        };
        if agrees {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!(
            "the records of tenant {} in {} do not add up to their stored totals (revision {})",
            self.header.tenant.id(),
            self.header.month,
            self.header.revision
        )))
    }
}
