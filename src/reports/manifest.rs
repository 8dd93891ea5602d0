//! The manifest of a report: its loads, fixed at a snapshot.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::{InvalidField, ReportError};
use crate::{
    model::{Month, TenantId, UtcTime, hex},
    statement::MissingDays,
    store::{self, AsOf, Load, LoadContent, SnapshotTime, Store},
};

/// Identifies the content of a tenant's month: equal content, equal revision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Revision(pub(in crate::reports) [u8; 32]);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl std::fmt::Debug for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The revision of loads, which are ordered by day and source.
pub(super) fn revision(tenant: TenantId, month: Month, loads: &[Load]) -> Revision {
    let with_records = loads.iter().filter(|load| load.record_count > 0);
    let contents =
        with_records.map(|load| LoadContent { usage_day: load.usage_day, source: &load.source, digest: &load.digest });
    Revision(store::revision(tenant, month, contents))
}

/// When the newest of the loads was published.
pub(super) fn data_as_of(loads: &[Load]) -> Option<UtcTime> {
    loads.iter().map(|load| load.published_at).max()
}

/// The days that sources have not delivered between the first and the last one that they have, by source. The loads are ordered
/// by day, and a day that was withdrawn has one.
pub(super) fn missing_days(loads: &[Load]) -> Vec<MissingDays> {
    let mut delivered: BTreeMap<&str, Vec<NaiveDate>> = BTreeMap::new();
    for load in loads {
        delivered.entry(&load.source).or_default().push(load.usage_day);
    }
    let missing = delivered.into_iter().map(|(source, days)| {
        let gaps = days.windows(2).flat_map(|pair| pair[0].iter_days().skip(1).take_while(|day| *day < pair[1]));
        MissingDays { days: gaps.collect(), source: source.to_owned() }
    });
    missing.filter(|missing| !missing.days.is_empty()).collect()
}

/// The snapshot of a token, which came in this field. A standby may not have replicated it yet.
pub(super) async fn snapshot_of_token(
    store: &Store,
    time: UtcTime,
    field: &'static str,
) -> Result<SnapshotTime, ReportError> {
    match store.snapshot_as_of(time).await? {
        AsOf::Final(snapshot) => Ok(snapshot),
        // Tokens are made of moments that have been.
        AsOf::Future => Err(InvalidField::new(field, "a token of a moment in the future").into()),
        AsOf::NotReplicated => Err(ReportError::NotReplicated),
    }
}

/// A moment of the past such that nothing can be published at or before it any more.
pub async fn current_moment(store: &Store) -> Result<UtcTime, ReportError> {
    Ok(store.snapshot().await?.time())
}

/// The snapshot that a request asks for.
pub(super) async fn snapshot(store: &Store, as_of: Option<UtcTime>) -> Result<SnapshotTime, ReportError> {
    let Some(as_of) = as_of else { return Ok(store.snapshot().await?) };
    match store.snapshot_as_of(as_of).await? {
        AsOf::Final(snapshot) => Ok(snapshot),
        AsOf::Future => Err(InvalidField::new("as_of", format!("{as_of} is in the future")).into()),
        AsOf::NotReplicated => Err(ReportError::NotReplicated),
    }
}
