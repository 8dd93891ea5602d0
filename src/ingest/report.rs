//! What an import tells of what it did.

use chrono::NaiveDate;

use super::findings::UsageWarning;
use crate::model::{TenantId, UtcTime};

/// What an import did, or would do.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// How many records were read.
    pub record_count: u64,
    /// What became of each tenant's day, ordered by tenant id and day.
    pub loads: Vec<LoadReport>,
    /// What the source has delivered before for the same organizations and days, and not this time, ordered by tenant id and
    /// day: the first thousand. It stays in force.
    pub omitted: Vec<OmittedLoad>,
    /// How many of these there are.
    pub omitted_count: u64,
    /// What is allowed and seldom meant.
    pub warnings: Vec<UsageWarning>,
    /// When the loads were published; `None` where nothing changed or nothing was to be published.
    pub published_at: Option<UtcTime>,
}

/// What became of a tenant's day.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Whose usage.
    pub tenant_id: TenantId,
    /// The UTC day.
    pub usage_day: NaiveDate,
    /// How many records it has now.
    pub record_count: i32,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// What was done.
    pub outcome: LoadOutcome,
    /// Another source that the same content is in force from: it counts twice, which is seldom meant.
    pub also_from: Option<String>,
}

/// What was done with a tenant's day.
#[derive(Clone, Debug)]
pub enum LoadOutcome {
    /// It is the first of its day and source.
    Published,
    /// It superseded another load.
    Restated(Restatement),
    /// It has no records, and superseded a load that had some.
    Withdrawn(Restatement),
    /// The day has this very content already.
    Unchanged,
}

/// How a restatement differs from what it superseded.
#[derive(Clone, Debug)]
pub struct Restatement {
    /// How many records the superseded load has.
    pub superseded_record_count: i32,
    /// When it had been published.
    pub superseded_published_at: UtcTime,
    /// When this very content was published before, to be superseded since: an old file may have come again.
    pub returns_to: Option<UtcTime>,
    /// Per meter, by name: the quantity before and after, as plain decimals.
    pub quantities: Vec<(String, String, String)>,
}

/// A tenant's day that a delivery has nothing of, though it has usage of the day for other tenants of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OmittedLoad {
    /// Whose usage.
    pub tenant_id: TenantId,
    /// The UTC day.
    pub usage_day: NaiveDate,
    /// How many records the source delivered before.
    pub record_count: i32,
}

// === impl LoadOutcome ===

impl LoadOutcome {
    /// In logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Restated(_) => "restated",
            Self::Withdrawn(_) => "withdrawn",
            Self::Unchanged => "unchanged",
        }
    }

    /// What it superseded, if anything.
    pub fn restatement(&self) -> Option<&Restatement> {
        match self {
            Self::Restated(restatement) | Self::Withdrawn(restatement) => Some(restatement),
            Self::Published | Self::Unchanged => None,
        }
    }
}
