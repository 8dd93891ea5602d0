//! The detailed usage report: a fixed manifest, read in its order, a range of rows or some small loads at a time.

mod filter;
mod position;
mod records_before;
mod totals;

use std::{collections::VecDeque, sync::Arc};

use bigdecimal::BigDecimal;

use super::{
    InvalidField, ReportError,
    blocks::{BlockReader, LoadBlocks},
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    model::{Asset, BillingRegion, Meter, Month, StatementNumber, TenantId, Totals, UsageFilter, UtcTime},
    statement::MissingDays,
    store::{
        AssetKey, Load, MeterKey, Meters, RecordBlock, RecordFilter, RecordRow, RecordRows, Store, StoreError,
        StoredDimensions, VisibleTenant,
    },
};
use position::{Position, Resume};

/// The minimum number of records of a chunk, if the blocks that were read have as many.
const CHUNK_ROWS: usize = 512;

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

/// Consecutive records.
#[derive(Clone, Debug)]
pub struct UsageChunk {
    records: RecordRows,
    /// The position before the first record.
    start: Position,
    /// The loads that records are of, each behind the index of its first record.
    loads: Vec<(usize, usize)>,
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
        let (mut snapshot, meters) = (snapshot?, meters?);
        if let (Some(number), None) = (request.statement, &resumed) {
            snapshot = store.statement_horizon(&tenant, number).await?.ok_or(ReportError::StatementNotFound)?;
        }
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
        let loads: Arc<[Load]> = loads.into();
        let reader = BlockReader::new(
            store.clone(),
            (tenant.clone(), month),
            Arc::clone(&loads),
            filter.clone(),
            (position.load, position.row),
        );
        let mut report = Self {
            header: UsageHeader {
                tenant,
                month,
                revision,
                data_as_of: manifest::data_as_of(&loads),
                record_count: 0,
                resumed_record_count: position.records_before,
                missing_days: manifest::missing_days(&loads),
            },
            resume: Resume { tenant_id, month, snapshot: snapshot.time(), revision, filter_digest },
            store,
            loads,
            filter,
            meters,
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
        let before = chunk.loads.partition_point(|&(first, _)| first <= record);
        let load = before.checked_sub(1).map_or(chunk.start.load, |index| chunk.loads[index].1);
        let row = chunk.rows().get(record).map_or(chunk.start.row, |row| row.row_number);
        self.resume.seal(Position { load, row, records_before: chunk.start.records_before + record as u64 + 1 })
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

    /// The next records; `None` at the end, after the totals of all records were checked.
    ///
    /// # Errors
    ///
    /// The store failed, or the records do not add up to the totals.
    pub async fn next(&mut self) -> Result<Option<UsageChunk>, ReportError> {
        // After the last record that matches the filter, the rest is not read.
        while self.filter.is_empty() || self.position.records_before < self.header.record_count {
            let chunk = self.chunk_of_blocks()?;
            if !chunk.rows().is_empty() {
                self.add_to_totals(&chunk.records);
                return Ok(Some(chunk));
            }
            let matched_records = std::mem::take(&mut self.matched_records);
            let Some(blocks) = self.reader.next(matched_records).await? else { break };
            self.begin(blocks);
        }
        self.check_totals()?;
        Ok(None)
    }

    fn begin(&mut self, of_load: LoadBlocks) {
        let LoadBlocks { load, after, blocks } = of_load;
        self.blocks = blocks.into();
        self.position = Position { load, row: after, ..self.position };
    }

    /// The next records of the blocks that were read.
    fn chunk_of_blocks(&mut self) -> Result<UsageChunk, StoreError> {
        let (mut records, mut loads) = (RecordRows::default(), Vec::new());
        let start = self.position;
        while records.rows.len() < CHUNK_ROWS {
            let Some(block) = self.blocks.pop_front() else {
                let Some(blocks) = self.reader.next_ready() else { break };
                self.begin(blocks);
                continue;
            };
            if loads.last().is_none_or(|&(_, load)| load != self.position.load) {
                loads.push((records.rows.len(), self.position.load));
            }
            records.rows.reserve(if self.filter.is_empty() { block.count() } else { 0 });
            block.rows(self.position.row, &self.filter, &mut records)?;
            self.position.row = block.last_row();
        }
        self.matched_records += records.rows.len();
        Ok(UsageChunk { records, start, loads })
    }

    fn add_to_totals(&mut self, records: &RecordRows) {
        let slots: Vec<usize> =
            records.dimensions.iter().map(|stored| self.read_totals.slot(&stored.usage_key())).collect();
        for row in &records.rows {
            self.read_totals.add_to(slots[row.dimensions], row.quantity);
        }
        self.position.records_before += records.rows.len() as u64;
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

/// Only forged tokens have such a position.
fn no_position() -> InvalidField {
    invalid_resume("not a position of this report")
}

fn invalid_resume(error: impl std::fmt::Display) -> InvalidField {
    InvalidField::new("resume_token", error)
}
