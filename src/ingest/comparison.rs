//! Compares the loads of an import with those that were published before.

use std::collections::HashMap;

use bigdecimal::BigDecimal;

use super::{
    plan::{self, PlannedLoad},
    report::{LoadOutcome, LoadReport, Restatement},
};
use crate::{
    model::UtcTime,
    store::{ImportSession, InForce, LoadKey, MeterKey, Meters, PublishedLoad, StoreError, TenantKey},
};

/// Published loads that the imported ones are compared with.
#[derive(Default)]
pub(super) struct LoadComparison {
    /// The totals of superseded loads, by tenant and load id.
    superseded_quantities: HashMap<(TenantKey, i64), Vec<(MeterKey, BigDecimal)>>,
    /// When a load with the same content was published before.
    earlier_publications: HashMap<LoadKey, UtcTime>,
    /// Another source that has delivered the same content.
    other_sources: HashMap<LoadKey, String>,
    /// `false` if the look-up failed.
    is_loaded: bool,
}

impl LoadComparison {
    pub(super) async fn load(
        session: &ImportSession,
        loads: &[PlannedLoad],
        outcomes: &[PublishedLoad],
        in_force: &InForce,
    ) -> Result<Self, StoreError> {
        let mut superseded = Vec::new();
        let mut contents = Vec::new();
        for (planned, outcome) in loads.iter().zip(outcomes) {
            if let PublishedLoad::Superseded(load) = outcome {
                superseded.push((planned.load.key.tenant, load.id));
                if planned.load.record_count > 0 {
                    contents.push((planned.load.key, planned.load.digest.sha256, load.published_at));
                }
            }
        }
        let mut superseded_quantities: HashMap<_, Vec<_>> = HashMap::new();
        for (load, meter, quantity) in session.meter_totals(&superseded).await? {
            superseded_quantities.entry(load).or_default().push((meter, quantity));
        }
        let earlier_publications = session.earlier_publications(&contents).await?;
        // Empty loads are equal for every source, so they are left out.
        let published = loads
            .iter()
            .zip(outcomes)
            .filter(|(planned, outcome)| planned.load.record_count > 0 && **outcome != PublishedLoad::Unchanged);
        let other_sources = published.filter_map(|(planned, _)| {
            let source = in_force.other_source(planned.load.key, &planned.load.digest)?;
            Some((planned.load.key, source.to_owned()))
        });
        let other_sources = other_sources.collect();
        Ok(Self { superseded_quantities, earlier_publications, other_sources, is_loaded: true })
    }

    pub(super) fn reports(
        mut self,
        loads: &[PlannedLoad],
        outcomes: Vec<PublishedLoad>,
        meters: &Meters,
    ) -> Result<Vec<LoadReport>, StoreError> {
        let reports = loads.iter().zip(outcomes).map(|(planned, outcome)| {
            let outcome = match outcome {
                PublishedLoad::First => LoadOutcome::Published,
                PublishedLoad::Unchanged => LoadOutcome::Unchanged,
                PublishedLoad::Superseded(load) => {
                    let key = (planned.load.key.tenant, load.id);
                    let old = self.superseded_quantities.remove(&key).unwrap_or_default().into_iter();
                    let restatement = Restatement {
                        superseded_record_count: load.record_count,
                        superseded_published_at: load.published_at,
                        returns_to: self.earlier_publications.get(&planned.load.key).copied(),
                        quantities: if self.is_loaded {
                            plan::compare_quantities(&planned.load, old, meters)?
                        } else {
                            Vec::new()
                        },
                    };
                    if planned.load.record_count == 0 {
                        LoadOutcome::Withdrawn(restatement)
                    } else {
                        LoadOutcome::Restated(restatement)
                    }
                }
            };
            Ok(LoadReport {
                tenant_id: planned.tenant_id,
                usage_day: planned.load.key.usage_day,
                record_count: planned.load.record_count,
                digest: planned.load.digest.sha256,
                outcome,
                also_from: self.other_sources.remove(&planned.load.key),
            })
        });
        reports.collect()
    }
}
