//! The detailed usage report: a fixed manifest, read load by load, a range of rows at a time.

mod filter;
mod position;
mod records_before;
mod totals;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bigdecimal::BigDecimal;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::{
    InvalidField, ReportError,
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    database::DatabaseError,
    model::{Asset, BillingRegion, Meter, Month, TenantId, Totals, UsageFilter, UtcTime},
    store::{
        AssetKey, BLOCK_ROWS, BlockRange, Load, MeterKey, Meters, RecordBlock, RecordFilter, RecordRow, RecordRows,
        Store, StoreError, StoredDimensions, VisibleTenant, block_of,
    },
};
use position::{Position, Resume};

/// How many blocks are read at a time, once the first one is there.
const RANGE_BLOCKS: i32 = 8;
/// How many ranges are read while another one is sent, each by a connection of its own: the database has its next
/// statement while what it has answered is taken apart.
const PREFETCHED_RANGES: usize = 2;
/// How many blocks are read at a time when a filter matches few of their records.
const MAX_RANGE_BLOCKS: i32 = 2 * RANGE_BLOCKS;
/// The minimum number of records of a chunk, if the blocks that were read have as many.
const CHUNK_ROWS: usize = 512;

/// How long a statement goes on that nobody waits for any more. Most end within that, and their connections are good for
/// others; a cancelled one costs its connection.
pub const GIVE_UP_AFTER: Duration = Duration::from_millis(250);

#[derive(Clone, Debug)]
pub struct UsageRequest {
    pub tenant_id: TenantId,
    pub month: Month,
    pub filter: UsageFilter,
    /// The report as it was at this time; `None`: now.
    pub as_of: Option<UtcTime>,
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
}

/// Consecutive records of a load.
#[derive(Clone, Debug)]
pub struct UsageChunk {
    records: RecordRows,
    /// The position before the first record.
    start: Position,
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
    loads: Vec<Load>,
    filter: RecordFilter,
    meters: Meters,
    /// The expected totals, by meter name, region and trial.
    totals: Vec<(MeterKey, UsageTotal)>,
    /// The position after the last record that was returned.
    position: Position,
    /// Blocks after the position, in the same load.
    blocks: VecDeque<RecordBlock>,
    /// The following ranges, in order.
    prefetched: VecDeque<Prefetch>,
    /// The position after the last range that is prefetched.
    prefetch_position: Position,
    range_blocks: i32,
    /// How many records of the last range passed the filter.
    matched_records: usize,
    /// The totals of the records that were returned.
    read_totals: Totals<MeterKey>,
}

/// A range that is being read in the background. Dropping it cancels the statement after [`GIVE_UP_AFTER`].
struct Prefetch {
    load: usize,
    /// The last row before it.
    after: i32,
    blocks: JoinHandle<Result<Vec<RecordBlock>, StoreError>>,
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
        let UsageRequest { tenant_id, month, .. } = *request;
        let filter_digest = filter::digest(&request.filter);
        let resumed = if request.resume_token.is_empty() {
            None
        } else {
            let resume = Resume::open(&request.resume_token).map_err(invalid_resume)?;
            resume.0.check(tenant_id, month, filter_digest).map_err(invalid_resume)?;
            Some(resume)
        };
        let snapshot = async {
            match &resumed {
                Some((resume, _)) => manifest::snapshot_of_token(&store, resume.snapshot, "resume_token").await,
                None => manifest::snapshot(&store, request.as_of).await,
            }
        };
        // Concurrently, since they are independent.
        let (tenant, snapshot, meters) = tokio::join!(store.find_tenant(scope, tenant_id), snapshot, store.meters());
        // Callers who may not see the tenant must not learn anything else.
        let tenant = tenant?.visible().map_err(ReportError::TenantNotFound)?;
        let (snapshot, meters) = (snapshot?, meters?);
        let loads = store.loads_in_force(&tenant, month, snapshot).await?;
        let revision = manifest::revision(tenant_id, month, &loads);
        let position = match &resumed {
            Some((resume, _)) if resume.revision != revision => return Err(ReportError::ResumeTokenExpired),
            Some((_, position)) if !position.is_in(&loads) => return Err(no_position().into()),
            Some((_, position)) => *position,
            None => Position::default(),
        };
        if loads.iter().any(|load| load.is_purged) {
            return Err(if resumed.is_some() { ReportError::ResumeTokenExpired } else { ReportError::Purged });
        }
        let filter = filter::resolve(&request.filter, &store, &tenant, &meters).await?;
        let mut report = Self {
            header: UsageHeader {
                tenant,
                month,
                revision,
                data_as_of: manifest::data_as_of(&loads),
                record_count: 0,
                resumed_record_count: position.records_before,
            },
            resume: Resume { tenant_id, month, snapshot: snapshot.time(), revision, filter_digest },
            store,
            loads,
            filter,
            meters,
            totals: Vec::new(),
            position,
            blocks: VecDeque::new(),
            prefetched: VecDeque::new(),
            prefetch_position: position,
            range_blocks: 1,
            matched_records: 0,
            read_totals: Totals::default(),
        };
        // The first records are read together with the totals, unless a filter may match none.
        if report.filter.is_empty() {
            let first = report.prefetch_next();
            report.prefetched.extend(first);
        }
        report.totals = report.stored_totals().await?;
        report.header.record_count = report.totals.iter().map(|(_, total)| total.record_count).sum();
        if resumed.is_some() && position.records_before != report.records_before(position).await? {
            return Err(no_position().into());
        }
        Ok(report)
    }

    pub fn header(&self) -> &UsageHeader {
        &self.header
    }

    /// The totals of the whole report, by meter name, region and trial.
    pub fn totals(&self) -> impl Iterator<Item = &UsageTotal> {
        self.totals.iter().map(|(_, total)| total)
    }

    /// The resume token for the position after a record of a chunk.
    pub fn resume_token(&self, chunk: &UsageChunk, record: usize) -> String {
        let row = chunk.rows().get(record).map_or(chunk.start.row, |row| row.row_number);
        self.resume.seal(Position {
            row,
            records_before: chunk.start.records_before + record as u64 + 1,
            ..chunk.start
        })
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
        let is_missing = matches!(error, ReportError::Store(StoreError::Corrupt(_)));
        if !is_missing {
            return error;
        }
        if self.store.are_purged(&self.header.tenant, &self.loads).await.unwrap_or(false) {
            return ReportError::Purged;
        }
        // Connections may lead to standbys with different replication lag.
        if self.store.is_standby().await.unwrap_or(false) {
            return StoreError::unavailable(format!("a standby is behind another one: {error}")).into();
        }
        error
    }

    /// The next records; `None` at the end, after the totals of all records were checked.
    ///
    /// # Errors
    ///
    /// The store failed, or the records do not add up to the totals.
    pub async fn next(&mut self) -> Result<Option<UsageChunk>, ReportError> {
        // After the last record that matches the filter, the rest is not read.
        while self.filter.is_empty() || self.position.records_before < self.header.record_count {
            let start = self.position;
            let records = self.records_of_blocks()?;
            if !records.rows.is_empty() {
                self.add_to_totals(&records);
                return Ok(Some(UsageChunk { records, start }));
            }
            let Some(mut prefetch) = self.prefetched.pop_front().or_else(|| self.prefetch_next()) else { break };
            self.blocks = prefetch.finish().await?.into();
            self.position = Position { load: prefetch.load, row: prefetch.after, ..self.position };
            self.adapt_range();
            while self.prefetched.len() < PREFETCHED_RANGES {
                let Some(prefetch) = self.prefetch_next() else { break };
                self.prefetched.push_back(prefetch);
            }
        }
        self.check_totals()?;
        Ok(None)
    }

    /// Starts to read the range after the last one.
    fn prefetch_next(&mut self) -> Option<Prefetch> {
        loop {
            let load = self.loads.get(self.prefetch_position.load)?;
            let after = self.prefetch_position.row;
            if after >= load.record_count {
                self.prefetch_position.load += 1;
                self.prefetch_position.row = 0;
                continue;
            }
            let first = block_of(after + 1);
            let last = block_of(load.record_count).min(first.saturating_add(self.range_blocks - 1));
            let range = BlockRange { first, last };
            self.prefetch_position.row = load.record_count.min(last.saturating_mul(BLOCK_ROWS));
            let (store, tenant, month) = (self.store.clone(), self.header.tenant.clone(), self.header.month);
            let (load, filter) = (load.clone(), self.filter.clone());
            let blocks = async move { store.read_blocks(&tenant, month, &load, range, &filter).await };
            let blocks = tokio::spawn(blocks.in_current_span());
            return Some(Prefetch { load: self.prefetch_position.load, after, blocks });
        }
    }

    /// The next records of the blocks that were read.
    fn records_of_blocks(&mut self) -> Result<RecordRows, StoreError> {
        let mut records = RecordRows::default();
        while records.rows.len() < CHUNK_ROWS
            && let Some(block) = self.blocks.pop_front()
        {
            records.rows.reserve(if self.filter.is_empty() { block.count() } else { 0 });
            block.rows(self.position.row, &self.filter, &mut records)?;
            self.position.row = block.last_row();
        }
        self.matched_records += records.rows.len();
        Ok(records)
    }

    fn add_to_totals(&mut self, records: &RecordRows) {
        let slots: Vec<usize> =
            records.dimensions.iter().map(|stored| self.read_totals.slot(&stored.usage_key())).collect();
        for row in &records.rows {
            self.read_totals.add_to(slots[row.dimensions], row.quantity);
        }
        self.position.records_before += records.rows.len() as u64;
    }

    /// The first range is small, so that the first records come soon. If a filter matches few records, larger ranges
    /// are read.
    fn adapt_range(&mut self) {
        let threshold = usize::try_from(self.range_blocks * BLOCK_ROWS / 8).unwrap_or(0);
        // The first range has no result yet when the next one is requested.
        let few_match = !self.filter.is_empty() && self.range_blocks > 1 && self.matched_records < threshold;
        self.range_blocks = if few_match { MAX_RANGE_BLOCKS } else { RANGE_BLOCKS };
        self.matched_records = 0;
    }
}

// === impl UsageChunk ===

impl UsageChunk {
    /// The records; at least one.
    pub fn rows(&self) -> &[RecordRow] {
        &self.records.rows
    }

    /// The dimensions of the records, by the positions that they name.
    pub fn dimensions(&self) -> &[StoredDimensions] {
        &self.records.dimensions
    }

    /// The keys of the records' assets, in order, each once.
    pub fn asset_keys(&self) -> Vec<AssetKey> {
        let mut keys: Vec<AssetKey> = self.records.rows.iter().map(|row| row.asset).collect();
        // Records of an asset are consecutive, so this leaves few keys.
        keys.dedup();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

// === impl Prefetch ===

impl Prefetch {
    async fn finish(&mut self) -> Result<Vec<RecordBlock>, StoreError> {
        (&mut self.blocks).await.unwrap_or_else(|error| Err(DatabaseError::Failed(error.to_string()).into()))
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        let blocks = self.blocks.abort_handle();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !blocks.is_finished() => {
                drop(runtime.spawn(async move {
                    tokio::time::sleep(GIVE_UP_AFTER).await;
                    blocks.abort();
                }));
            }
            _ => blocks.abort(),
        }
    }
}

/// Only forged tokens have such a position.
fn no_position() -> InvalidField {
    invalid_resume("not a position of this report")
}

fn invalid_resume(error: impl std::fmt::Display) -> InvalidField {
    InvalidField::new("resume_token", error)
}
