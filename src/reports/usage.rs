//! The detailed usage report: a fixed manifest, read in its order, a range of rows or some small loads at a time.

mod chunk;
mod filter;
mod found;
mod position;
mod read;
mod records_before;
mod slices;
mod totals;

use std::{collections::VecDeque, sync::Arc};

use bigdecimal::BigDecimal;

use super::{
    InvalidField, ReportError,
    blocks::BlockReader,
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    model::{Asset, BillingRegion, Meter, Month, StatementNumber, TenantId, Totals, UsageFilter, UtcTime},
    statement::MissingDays,
    store::{AssetKey, Load, MeterKey, Meters, RecordBlock, RecordFilter, Store, VisibleTenant},
};
pub use chunk::UsageChunk;
use found::FoundReport;
use position::{Position, Resume};
pub use slices::{UsageOutline, UsageSlice};

#[derive(Clone, Debug)]
pub struct UsageRequest {
    pub tenant_id: TenantId,
    pub month: Month,
    pub filter: UsageFilter,
    /// The report as it was at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    /// As this statement has billed it, instead.
    pub statement: Option<StatementNumber>,
    /// From an earlier stream; empty: from the start.
    pub resume_token: String,
}

#[derive(Clone, Debug)]
pub struct UsageHeader {
    pub tenant: VisibleTenant,
    pub month: Month,
    /// The revision of the manifest.
    pub revision: Revision,
    /// When the newest load was published.
    pub data_as_of: Option<UtcTime>,
    /// The number of records of the whole report.
    pub record_count: u64,
    /// The number of records before the position that the report is resumed from.
    pub resumed_record_count: u64,
    /// By source.
    pub missing_days: Vec<MissingDays>,
}

/// The total of a meter, region and trial.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageTotal {
    pub meter: Arc<Meter>,
    pub billing_region: BillingRegion,
    pub trial: bool,
    /// Exact.
    pub quantity: BigDecimal,
    pub record_count: u64,
}

/// A report that is being read.
pub struct UsageReport {
    store: Store,
    header: UsageHeader,
    resume: Resume,
    loads: Arc<[Load]>,
    filter: RecordFilter,
    meters: Meters,
    /// The expected totals, by meter name, region and trial.
    totals: Vec<(MeterKey, UsageTotal)>,
    /// The position after the last record that was returned.
    position: Position,
    /// Blocks after the position, in the same load.
    blocks: VecDeque<RecordBlock>,
    /// Where the following blocks come from.
    reader: BlockReader,
    /// How many records of the last range passed the filter.
    matched_records: usize,
    /// The totals of the records that were returned.
    read_totals: Totals<MeterKey>,
}

// === impl UsageReport ===

impl UsageReport {
    /// Opens the report, at the position of the resume token if there is one.
    ///
    /// # Errors
    ///
    /// [`ReportError::TenantNotFound`], [`ReportError::Purged`], [`ReportError::Invalid`] for a field of the request, or
    /// [`ReportError::ResumeTokenExpired`] if the report of the token cannot be reproduced.
    pub async fn open(store: Store, scope: &TenantScope, request: &UsageRequest) -> Result<Self, ReportError> {
        let resumed = if request.resume_token.is_empty() {
            None
        } else {
            let resume = Resume::open(&request.resume_token).map_err(invalid_resume)?;
            let filter_digest = filter::digest(&request.filter);
            resume.0.check(request.tenant_id, request.month, filter_digest).map_err(invalid_resume)?;
            Some(resume)
        };
        let snapshot = async {
            match &resumed {
                Some((resume, _)) => manifest::snapshot_of_token(&store, resume.snapshot, "resume_token").await,
                None => manifest::snapshot(&store, request.as_of).await,
            }
        };
        let found = FoundReport::find(&store, scope, request, snapshot).await?;
        let mut header = found.header();
        let position = match &resumed {
            Some((resume, _)) if resume.revision != found.revision => return Err(ReportError::ResumeTokenExpired),
            Some((_, position)) if !position.is_in(&found.loads) => return Err(no_position().into()),
            Some((_, position)) => *position,
            None => Position::default(),
        };
        if found.is_purged() {
            return Err(if resumed.is_some() { ReportError::ResumeTokenExpired } else { ReportError::Purged });
        }
        header.resumed_record_count = position.records_before;
        let filter = filter::resolve(&request.filter, &store, &found.tenant, &found.meters).await?;
        let report = Self::begin_at(store, found, header, (filter, position), request).await?;
        if resumed.is_some() && position.records_before != report.records_before(position).await? {
            return Err(no_position().into());
        }
        Ok(report)
    }

    /// Begins to read loads of a report from a position on.
    async fn begin_at(
        store: Store,
        found: FoundReport,
        header: UsageHeader,
        (filter, position): (RecordFilter, Position),
        request: &UsageRequest,
    ) -> Result<Self, ReportError> {
        let loads: Arc<[Load]> = found.loads.into();
        let reader = BlockReader::new(
            store.clone(),
            (found.tenant, found.month),
            Arc::clone(&loads),
            filter.clone(),
            (position.load, position.row),
        );
        let mut report = Self {
            header,
            resume: Resume {
                tenant_id: request.tenant_id,
                month: found.month,
                snapshot: found.snapshot.time(),
                revision: found.revision,
                filter_digest: filter::digest(&request.filter),
            },
            store,
            loads,
            filter,
            meters: found.meters,
            totals: Vec::new(),
            position,
            blocks: VecDeque::new(),
            reader,
            matched_records: 0,
            read_totals: Totals::default(),
        };
        // The first records are read together with the totals, unless a filter may match none.
        if report.filter.is_empty() {
            report.reader.prefetch_first();
        }
        report.totals = report.stored_totals().await?;
        report.header.record_count = report.totals.iter().map(|(_, total)| total.record_count).sum();
        Ok(report)
    }

    pub fn header(&self) -> &UsageHeader {
        &self.header
    }

    /// What the report is as of.
    pub fn as_of(&self) -> UtcTime {
        self.resume.snapshot
    }

    /// The totals of the whole report, by meter name, region and trial.
    pub fn totals(&self) -> impl Iterator<Item = &UsageTotal> {
        self.totals.iter().map(|(_, total)| total)
    }

    /// The meters that records are of, in the order of the totals.
    pub fn meters(&self) -> impl Iterator<Item = (MeterKey, &Meter)> {
        self.totals.iter().map(|(key, total)| (*key, &*total.meter))
    }

    /// The resume token for the position after a record of a chunk.
    pub fn resume_token(&self, chunk: &UsageChunk, record: usize) -> String {
        self.resume.seal(chunk.position(record))
    }

    /// Assets by their keys, which are those of records of one [epoch](Self::epoch).
    pub async fn assets(&self, keys: &[AssetKey]) -> Result<Vec<(AssetKey, Asset)>, ReportError> {
        Ok(self.store.assets(&self.header.tenant, keys).await?)
    }

    /// In another epoch than before, keys may stand for other assets.
    pub fn epoch(&self) -> u64 {
        self.store.epoch()
    }

    pub fn meter(&self, key: MeterKey) -> Result<&Arc<Meter>, ReportError> {
        Ok(self.meters.get(key)?)
    }

    /// Explains an error in the middle of the report: missing records may have been purged.
    pub async fn explain(&self, error: ReportError) -> ReportError {
        self.reader.explain(error).await
    }
}

/// Only forged tokens have such a position.
fn no_position() -> InvalidField {
    invalid_resume("not a position of this report")
}

fn invalid_resume(error: impl std::fmt::Display) -> InvalidField {
    InvalidField::new("resume_token", error)
}
