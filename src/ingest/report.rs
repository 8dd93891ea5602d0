//! The result of an import.

use chrono::NaiveDate;

use super::findings::UsageWarning;
use crate::model::{TenantId, UtcTime};

/// What an import did, or would do.
#[derive(Clone, Debug)]
pub struct ImportReport {
    pub record_count: u64,
    /// The result for each tenant's day, by tenant id and day.
    pub loads: Vec<LoadReport>,
    /// What the source has delivered before for the same organizations and days, and not this time, ordered by tenant id and
    /// day: the first thousand. It stays in force.
    pub omitted: Vec<OmittedLoad>,
    /// The number of all omitted loads.
    pub omitted_count: u64,
    /// Usage that is valid but probably a mistake.
    pub warnings: Vec<UsageWarning>,
    /// `None` if nothing changed, or in a dry run.
    pub published_at: Option<UtcTime>,
}

/// The result for a tenant's day.
#[derive(Clone, Debug)]
pub struct LoadReport {
    pub tenant_id: TenantId,
    pub usage_day: NaiveDate,
    /// The number of records in the delivery.
    pub record_count: i32,
    pub digest: [u8; 32],
    pub outcome: LoadOutcome,
    /// Another source whose load with the same content is in force, so that the usage counts twice.
    pub also_from: Option<String>,
}

#[derive(Clone, Debug)]
pub enum LoadOutcome {
    /// The first load of its tenant, day and source.
    Published,
    Restated(Restatement),
    /// An empty load superseded one with records.
    Withdrawn(Restatement),
    /// The load in force has the same content.
    Unchanged,
}

/// How a restatement differs from what it superseded.
#[derive(Clone, Debug)]
pub struct Restatement {
    /// The number of records of the superseded load.
    pub superseded_record_count: i32,
    /// When the superseded load was published.
    pub superseded_published_at: UtcTime,
    /// When the same content was published before, and superseded since. An old file may have been imported again.
    pub returns_to: Option<UtcTime>,
    /// Meter name, quantity before and quantity after, by name.
    pub quantities: Vec<(String, String, String)>,
}

/// A tenant's day that a delivery has nothing of, though it has usage of the day for other tenants of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OmittedLoad {
    pub tenant_id: TenantId,
    pub usage_day: NaiveDate,
    /// The number of records that the source delivered before.
    pub record_count: i32,
}

// === impl LoadOutcome ===

impl LoadOutcome {
    /// The name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Restated(_) => "restated",
            Self::Withdrawn(_) => "withdrawn",
            Self::Unchanged => "unchanged",
        }
    }

    /// The comparison with the superseded load, if there is one.
    pub fn restatement(&self) -> Option<&Restatement> {
        match self {
            Self::Restated(restatement) | Self::Withdrawn(restatement) => Some(restatement),
            Self::Published | Self::Unchanged => None,
        }
    }
}
