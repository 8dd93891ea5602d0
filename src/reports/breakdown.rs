//! What parts of a bill cost: each of its lines is shared among groups of the records that it adds up. A bill is gone over a
//! tenant's month at a time, and of that, only what groups add up to is kept.

mod aside;
mod assets;
mod bill;
mod billed;
mod budget;
mod group_key;
mod groups;
mod month;
mod rows;
mod selection;
mod tenant_bill;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

pub use budget::GroupBudget;
pub(super) use {budget::GroupPermit, month::MonthReader, rows::MonthRows, tenant_bill::TenantBill};

use super::{CostBasis, CostLine, ReportError, TenantMonth, manifest};
use crate::{
    auth::TenantScope,
    model::{
        Asset, AssetType, BillSubject, BreakdownFilter, CostGroups, Currency, Month, MonthRange, OrganizationId,
        Platform, UtcTime,
    },
    store::Store,
};
use bill::Bill;
use selection::Selection;

/// How many rows a chunk has at most.
const CHUNK_ROWS: usize = 512;
/// When a chunk with some rows is full: small tenants have few rows each.
const CHUNK_LIMIT: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub struct BreakdownRequest {
    pub subject: BillSubject,
    pub months: MonthRange,
    pub groups: CostGroups,
    /// Selects by groups that are asked for only.
    pub filter: BreakdownFilter,
    /// The usage and prices as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    /// Whether closed months are shared as billed, or as they would cost now.
    pub basis: CostBasis,
}

#[derive(Clone, Copy, Debug)]
pub struct BreakdownHeader {
    pub organization_id: OrganizationId,
    pub months: MonthRange,
    pub groups: CostGroups,
    pub currency: Currency,
}

/// What a group of usage costs: its share of a line of the bill.
#[derive(Clone, Debug)]
pub struct CostShare {
    pub line: Arc<CostLine>,
    /// Where rows are by asset or by its type.
    pub asset_type: Option<AssetType>,
    /// Where rows are by asset; with its newest name in the month.
    pub asset: Option<Asset>,
    pub usage_day: Option<NaiveDate>,
    pub platform: Option<Platform>,
    /// Billable; exact.
    pub quantity: BigDecimal,
    /// Exact.
    pub trial_quantity: BigDecimal,
    /// `None` if no price covers the line.
    pub cost: Option<BigDecimal>,
    pub record_count: i64,
}

/// Rows that follow each other.
#[derive(Clone, Debug, Default)]
pub struct BreakdownChunk {
    /// The reports whose first row is among them.
    pub reports: Vec<TenantMonth>,
    pub rows: Vec<CostShare>,
}

/// A breakdown that is being read.
pub struct Breakdown {
    header: BreakdownHeader,
    bill: Bill,
    /// The next months of tenants, in order.
    months: VecDeque<TenantBill>,
    reader: MonthReader,
    current: Option<CurrentMonth>,
    sums: BTreeMap<Month, BigDecimal>,
    row_count: u64,
}

/// The month whose rows come next.
struct CurrentMonth {
    /// Until its first row is there.
    report: Option<TenantMonth>,
    rows: MonthRows,
}

// === impl Breakdown ===

impl Breakdown {
    /// Opens the bill. No record is read yet.
    ///
    /// # Errors
    ///
    /// [`ReportError::OrganizationNotFound`], [`ReportError::TenantNotFound`], or [`ReportError::Invalid`] for a field of the
    /// request.
    pub async fn open(
        store: Store,
        budget: &GroupBudget,
        scope: &TenantScope,
        request: BreakdownRequest,
    ) -> Result<Self, ReportError> {
        let BreakdownRequest { subject, months, groups, filter, as_of, basis } = request;
        let (organization_id, tenant_id) = match subject {
            BillSubject::Organization(organization, tenant) => (organization, tenant),
            BillSubject::Tenant(tenant) => {
                let found = store.find_tenant(scope, tenant).await?.visible();
                (found.map_err(ReportError::TenantNotFound)?.organization_id(), Some(tenant))
            }
        };
        let snapshot = manifest::snapshot(&store, as_of);
        let (organization, snapshot, meters) =
            tokio::join!(store.find_organization(scope, organization_id), snapshot, store.meters());
        // Callers who may not see the organization must not learn anything else.
        let organization = organization?.visible().map_err(ReportError::OrganizationNotFound)?;
        let (snapshot, meters) = (snapshot?, meters?);
        let currency = organization.currency();
        let bill =
            Bill::open(&store, scope, organization, tenant_id, (months, basis), snapshot, meters.clone()).await?;
        let selection = Selection::new(groups, filter, &meters)?;
        Ok(Self {
            header: BreakdownHeader { organization_id, months, groups, currency },
            bill,
            months: VecDeque::new(),
            reader: MonthReader::new(store, scope.clone(), meters, selection, budget.clone()),
            current: None,
            sums: months.iter().map(|month| (month, currency.zero())).collect(),
            row_count: 0,
        })
    }

    pub fn header(&self) -> BreakdownHeader {
        self.header
    }

    /// How many rows were returned.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// What the rows that were returned add up to in each month.
    pub fn totals(&self) -> impl Iterator<Item = (Month, &BigDecimal)> {
        self.sums.iter().map(|(&month, cost)| (month, cost))
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    ///
    /// The store failed, the records of a line do not add up to it, there are too many groups, or names have changed.
    pub async fn next(&mut self) -> Result<Option<BreakdownChunk>, ReportError> {
        let mut chunk = BreakdownChunk::default();
        let begin = Instant::now();
        loop {
            let room = CHUNK_ROWS - chunk.rows.len();
            if room == 0 || (!chunk.rows.is_empty() && begin.elapsed() >= CHUNK_LIMIT) {
                break;
            }
            let Some(month) = &mut self.current else {
                if !self.begin_month().await? {
                    break;
                }
                continue;
            };
            let rows = month.rows.next(room).await?;
            if rows.is_empty() {
                self.current = None;
                continue;
            }
            chunk.reports.extend(month.report.take());
            self.add(&rows);
            chunk.rows.extend(rows);
        }
        Ok((!chunk.rows.is_empty()).then_some(chunk))
    }

    /// Reads the next month of a tenant. `false`: there is none.
    async fn begin_month(&mut self) -> Result<bool, ReportError> {
        if self.months.is_empty() {
            self.months = self.bill.next_part().await?.into();
        }
        let Some(month) = self.months.pop_front() else { return Ok(false) };
        let report = Some(month.report.clone());
        self.current = Some(CurrentMonth { report, rows: self.reader.read(month).await? });
        Ok(true)
    }

    fn add(&mut self, rows: &[CostShare]) {
        self.row_count += rows.len() as u64;
        for row in rows {
            if let (Some(sum), Some(cost)) = (self.sums.get_mut(&row.line.month), &row.cost) {
                *sum += cost;
            }
        }
    }
}
