//! The detailed usage report: a fixed manifest, read load by load, a range of rows at a time.

mod assets;
mod filter;
mod position;

use std::{collections::VecDeque, sync::Arc};

use bigdecimal::BigDecimal;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::{
    InvalidField, ReportError,
    manifest::{self, Revision},
};
use crate::{
    auth::TenantScope,
    model::{BillingRegion, DecimalSum, Meter, Month, TenantId, UsageKey, UtcTime},
    store::{Load, MeterKey, Meters, RecordFilter, RecordRow, RowRange, Store, StoreError, VisibleTenant},
};
pub use assets::AssetBook;
pub use filter::UsageFilter;
use position::{Position, Resume};

/// How many rows are read first.
const FIRST_ROWS: i32 = 512;
/// How many rows are read at a time later.
const RANGE_ROWS: i32 = 8192;
/// How many ranges are read while another one is sent, each by a connection of its own: the database has its next
/// statement while what it has answered is taken apart.
const RANGES_AHEAD: usize = 2;
/// How many rows are looked through at a time when a filter lets few of them pass.
const MAX_RANGE_ROWS: i32 = 4 * RANGE_ROWS;

/// Which report.
#[derive(Clone, Debug)]
pub struct UsageRequest {
    /// Whose usage.
    pub tenant_id: TenantId,
    /// Of which month.
    pub month: Month,
    /// Which records.
    pub filter: UsageFilter,
    /// As it stood then; `None`: as it stands now.
    pub as_of: Option<UtcTime>,
    /// Where an earlier stream ended; empty: from the start.
    pub resume_token: String,
}

/// What a report is about.
#[derive(Clone, Debug)]
pub struct UsageHeader {
    /// The tenant.
    pub tenant: VisibleTenant,
    /// The month.
    pub month: Month,
    /// Identifies the content.
    pub revision: Revision,
    /// When the newest load was published.
    pub data_as_of: Option<UtcTime>,
    /// How many records the whole report has.
    pub record_count: u64,
    /// How many of them came before the position that it was resumed from.
    pub resumed_record_count: u64,
}

/// Records that follow each other in a load.
#[derive(Clone, Debug)]
pub struct UsageChunk {
    rows: Vec<RecordRow>,
    /// Where the first of them begins.
    start: Position,
}

/// What records add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageTotal {
    /// The meter.
    pub meter: Arc<Meter>,
    /// The region.
    pub billing_region: BillingRegion,
    /// Whether it is trial usage.
    pub trial: bool,
    /// The exact sum.
    pub quantity: BigDecimal,
    /// Of how many records.
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
    /// What the records must add up to, ordered by meter name, region and trial.
    totals: Vec<(MeterKey, UsageTotal)>,
    /// Up to where records were handed out.
    position: Position,
    /// Up to where rows were looked for: ahead of the position.
    looked: Position,
    range_rows: i32,
    /// The ranges after the one that was handed out, read meanwhile, in order.
    ahead: VecDeque<Ahead>,
    /// What was read. Few meters and regions take turns, so a list is searched faster than a table.
    read: Vec<(UsageKey<MeterKey>, u64, DecimalSum)>,
}

/// A range that is being read. It ends with the report, and the database is told so.
struct Ahead {
    range: RowRange,
    load: usize,
    rows: JoinHandle<Result<Vec<RecordRow>, StoreError>>,
}

// === impl UsageReport ===

impl UsageReport {
    /// Finds the report, and its place where it is resumed.
    pub async fn open(store: Store, scope: &TenantScope, request: &UsageRequest) -> Result<Self, ReportError> {
        let UsageRequest { tenant_id, month, .. } = *request;
        let filter_digest = request.filter.digest();
        let resumed = if request.resume_token.is_empty() {
            None
        } else {
            let resume = Resume::open(&request.resume_token).map_err(invalid_resume)?;
            resume.0.check(tenant_id, month, filter_digest).map_err(invalid_resume)?;
            Some(resume)
        };
        let tenant = store.find_tenant(scope, tenant_id).await?.visible().map_err(ReportError::TenantNotFound)?;
        let horizon = match &resumed {
            Some((resume, _)) => manifest::known_horizon(&store, resume.horizon).await?,
            None => manifest::horizon(&store, request.as_of).await?,
        };
        let loads = store.loads_in_force(&tenant, month, horizon).await?;
        let revision = manifest::revision(tenant_id, month, &loads);
        let position = match &resumed {
            Some((resume, position)) if resume.revision == revision && position.is_in(&loads) => *position,
            Some(_) => return Err(ReportError::ResumeTokenExpired),
            None => Position::default(),
        };
        let meters = store.meters().await?;
        let filter = request.filter.resolve(&store, &tenant, &meters).await?;
        let totals = totals(&store, &tenant, month, &loads, &filter, &meters).await?;
        let record_count = totals.iter().map(|(_, total)| total.record_count).sum();
        // Nobody but a caller who makes up tokens gets here.
        if !position.can_be_of(&loads, filter.is_empty(), record_count) {
            return Err(invalid_resume("not a position of this report").into());
        }
        Ok(Self {
            header: UsageHeader {
                tenant,
                month,
                revision,
                data_as_of: manifest::data_as_of(&loads),
                record_count,
                resumed_record_count: position.records_before,
            },
            resume: Resume { tenant_id, month, horizon: horizon.time(), revision, filter_digest },
            store,
            loads,
            filter,
            meters,
            totals,
            position,
            looked: position,
            range_rows: FIRST_ROWS,
            ahead: VecDeque::new(),
            read: Vec::new(),
        })
    }

    /// What the report is about.
    pub fn header(&self) -> &UsageHeader {
        &self.header
    }

    /// What the whole report adds up to, ordered by meter name, region and trial.
    pub fn totals(&self) -> impl Iterator<Item = &UsageTotal> {
        self.totals.iter().map(|(_, total)| total)
    }

    /// The token for the position after a record of a chunk.
    pub fn resume_token(&self, chunk: &UsageChunk, record: usize) -> String {
        let row = chunk.rows.get(record).map_or(chunk.start.row, |row| row.row_number);
        self.resume.seal(Position {
            row,
            records_before: chunk.start.records_before + record as u64 + 1,
            ..chunk.start
        })
    }

    /// A meter of a record.
    pub fn meter(&self, key: MeterKey) -> Result<&Arc<Meter>, ReportError> {
        Ok(self.meters.get(key)?)
    }

    /// The next records; `None` at the end, when all that was read has been found to agree with the totals. The assets of
    /// the records are in the book afterwards.
    pub async fn next(&mut self, book: &mut impl AssetBook) -> Result<Option<UsageChunk>, ReportError> {
        // Where all that passes the filter has been read, the rest need not be looked through.
        while self.filter.is_empty() || self.position.records_before < self.header.record_count {
            let Some(mut ahead) = self.ahead.pop_front().or_else(|| self.look_ahead()) else { break };
            let rows = ahead.finish().await?;
            let start = Position { load: ahead.load, row: ahead.range.after, ..self.position };
            self.position = Position { row: ahead.range.last, ..start };
            self.adapt_range(rows.len());
            while self.ahead.len() < RANGES_AHEAD {
                let Some(ahead) = self.look_ahead() else { break };
                self.ahead.push_back(ahead);
            }
            if !rows.is_empty() {
                assets::look_up(&self.store, &self.header.tenant, &rows, book).await?;
                self.take_in(&rows);
                return Ok(Some(UsageChunk { rows, start }));
            }
        }
        self.check_totals()?;
        Ok(None)
    }

    /// Begins to read the range after the last one.
    fn look_ahead(&mut self) -> Option<Ahead> {
        loop {
            let load = self.loads.get(self.looked.load)?;
            let after = self.looked.row;
            if after >= load.record_count {
                self.looked.load += 1;
                self.looked.row = 0;
                continue;
            }
            let range = RowRange { after, last: load.record_count.min(after.saturating_add(self.range_rows)) };
            self.looked.row = range.last;
            let (store, tenant, month) = (self.store.clone(), self.header.tenant.clone(), self.header.month);
            let (load, filter) = (load.clone(), self.filter.clone());
            let rows = async move { store.read_records(&tenant, month, &load, range, &filter).await };
            return Some(Ahead { range, load: self.looked.load, rows: tokio::spawn(rows.in_current_span()) });
        }
    }

    /// Adds records up.
    fn take_in(&mut self, rows: &[RecordRow]) {
        let mut last = 0;
        for row in rows {
            let key = UsageKey { meter: row.meter, billing_region: row.billing_region, trial: row.trial };
            if self.read.get(last).is_none_or(|(read, ..)| *read != key) {
                last = self.read.iter().position(|(read, ..)| *read == key).unwrap_or_else(|| {
                    self.read.push((key, 0, DecimalSum::default()));
                    self.read.len() - 1
                });
            }
            let (_, count, sum) = &mut self.read[last];
            *count += 1;
            sum.add(row.quantity);
        }
        self.position.records_before += rows.len() as u64;
    }

    /// The first rows are to be there soon, and the others with little ado. Where a filter lets few rows pass, more are
    /// looked through at a time.
    fn adapt_range(&mut self, passed: usize) {
        let passed = i32::try_from(passed).unwrap_or(i32::MAX);
        if passed > RANGE_ROWS {
            self.range_rows = RANGE_ROWS;
        } else if self.range_rows < RANGE_ROWS {
            self.range_rows = (self.range_rows * 4).min(RANGE_ROWS);
        } else if passed < self.range_rows / 8 {
            self.range_rows = (self.range_rows * 2).min(MAX_RANGE_ROWS);
        }
    }

    /// The promise: the records add up to the totals that bills are made from. A stream that was resumed has not read
    /// them all, so there only the count is held against them; its reader, who has them all, checks the rest.
    fn check_totals(&self) -> Result<(), StoreError> {
        let whole = self.header.resumed_record_count == 0;
        let agrees = if whole {
            self.read.len() == self.totals.len()
                && self.totals.iter().all(|(meter, total)| {
                    let key = UsageKey { meter: *meter, billing_region: total.billing_region, trial: total.trial };
                    let read = self.read.iter().find(|(read, ..)| *read == key);
                    read.is_some_and(|(_, count, sum)| *count == total.record_count && sum.total() == total.quantity)
                })
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

// === impl UsageChunk ===

impl UsageChunk {
    /// The records; at least one.
    pub fn rows(&self) -> &[RecordRow] {
        &self.rows
    }
}

// === impl Ahead ===

impl Ahead {
    async fn finish(&mut self) -> Result<Vec<RecordRow>, StoreError> {
        (&mut self.rows).await.unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.rows.abort();
    }
}

fn invalid_resume(error: impl std::fmt::Display) -> InvalidField {
    InvalidField::new("resume_token", error)
}

async fn totals(
    store: &Store,
    tenant: &VisibleTenant,
    month: Month,
    loads: &[Load],
    filter: &RecordFilter,
    meters: &Meters,
) -> Result<Vec<(MeterKey, UsageTotal)>, ReportError> {
    let stored = if filter.is_by_asset() {
        store.added_up_totals(tenant, month, loads, filter).await?
    } else {
        store.stored_totals(tenant, loads, filter).await?
    };
    let mut totals = stored
        .into_iter()
        .map(|total| {
            let record_count = u64::try_from(total.record_count)
                .map_err(|_| StoreError::Corrupt("a total has a negative count".to_owned()))?;
            let named = UsageTotal {
                meter: Arc::clone(meters.get(total.key.meter)?),
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
