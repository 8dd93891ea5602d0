//! Why a bill changed: two bills of an organization, line by line. They are read a part of the tenants at a time, and between
//! two parts no connection is held, since those who read the lines may be slow.

mod assets;
mod draft;
mod effects;
mod lines;

use std::sync::Arc;

use bigdecimal::BigDecimal;

pub use effects::Effects;

use super::{
    BillState, CostBasis, GroupBudget, InvalidField, ReportError,
    breakdown::MonthReader,
    costs::{compute::Rates, hidden},
    manifest,
};
use crate::{
    auth::TenantScope,
    catalog::PriceListDraft,
    model::{Asset, BillingRegion, Currency, Meter, Month, OrganizationId, StatementNumber, TenantId, UtcTime},
    store::{
        AskedBill, ComparedBill, ComparedBills, ComparedPart, CostTenant, Hidden, SnapshotTime, Store, StoreError,
    },
};
use assets::AssetMovements;
use lines::{LinePair, join_lines};

#[derive(Clone, Debug)]
pub struct CompareRequest {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub base: BillRequest,
    pub target: BillRequest,
    /// How many of the assets that moved most to name.
    pub top_assets: u16,
}

/// A bill that is to be compared.
#[derive(Clone, Debug)]
pub struct BillRequest {
    pub month: Month,
    /// The bill as it was at this time; `None`: now, which is one moment for both.
    pub as_of: Option<UtcTime>,
    pub basis: CostBasis,
    /// What it is rated by, beside the real price list.
    pub draft: Option<PriceListDraft>,
}

#[derive(Clone, Debug)]
pub struct ComparisonHeader {
    pub organization_id: OrganizationId,
    pub organization_name: String,
    pub currency: Currency,
    /// The base and the target.
    pub sides: [ComparedSide; 2],
}

/// A bill that is compared.
#[derive(Clone, Copy, Debug)]
pub struct ComparedSide {
    pub month: Month,
    pub as_of: UtcTime,
    pub state: BillState,
    /// Whose usage and prices it has.
    pub statement: Option<StatementNumber>,
    pub is_drafted: bool,
}

/// How a line changed. The codes are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonKind {
    Unchanged = 1,
    Changed = 2,
    New = 3,
    Vanished = 4,
}

/// What a tenant owes for a meter and region in both bills.
#[derive(Clone, Debug)]
pub struct ComparedLine {
    pub tenant: CostTenant,
    pub meter: Arc<Meter>,
    pub billing_region: BillingRegion,
    pub kind: ComparisonKind,
    /// Billable, in the base and the target; exact.
    pub quantities: [BigDecimal; 2],
    /// Rounded; `None` if no price covers the quantity. Zero where a bill has no such line.
    pub costs: [Option<BigDecimal>; 2],
    pub effects: Effects,
    /// Whether a price is missing: of the base for one of the two quantities, of the target for its own.
    pub unpriced: [bool; 2],
}

/// An asset whose shares of the costs differ.
#[derive(Clone, Debug)]
pub struct MovedAsset {
    pub tenant: CostTenant,
    /// With its newest name in the target, or else in the base.
    pub asset: Asset,
    /// The sums of its shares in the base and the target.
    pub costs: [BigDecimal; 2],
}

/// Why no assets are named. The codes are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetsLeftOut {
    /// Records of one of the bills are no longer kept.
    Purged = 1,
    /// A tenant's month has more of them than are added up.
    TooMany = 2,
    /// Other calls took the memory for them.
    Overloaded = 3,
}

/// What lines add up to.
#[derive(Clone, Debug)]
pub struct ComparisonSummary {
    /// By [`ComparisonKind`]: unchanged, changed, new, vanished.
    pub counts: [u64; 4],
    /// Of the base and the target.
    pub costs: [BigDecimal; 2],
    pub effects: Effects,
    pub unpriced: [u64; 2],
}

/// A comparison that is being read.
pub struct Comparison {
    store: Store,
    header: ComparisonHeader,
    bills: ComparedBills,
    /// What the base and the target are rated by.
    rates: [Rates; 2],
    next: Next,
    summary: ComparisonSummary,
    /// Where they are asked for.
    assets: Option<AssetMovements>,
    /// Lines that were returned, and whose assets were not looked at.
    looked_at_next: Option<(ComparedPart, Vec<LinePair>)>,
}

/// Where a comparison goes on.
enum Next {
    First,
    /// Behind a tenant. The digest of the names there must be this one.
    Behind(CostTenant, i64),
    End,
}

/// The names of the sides in requests.
const SIDES: [&str; 2] = ["base", "target"];

// === impl ComparedLine ===

impl ComparedLine {
    /// What the target costs more than the base: the sum of the effects.
    pub fn difference(&self) -> BigDecimal {
        let [base, target] = self.costs.clone().map(Option::unwrap_or_default);
        target - base
    }
}

// === impl ComparisonSummary ===

impl ComparisonSummary {
    pub fn new(currency: Currency) -> Self {
        let costs = [currency.zero(), currency.zero()];
        Self { counts: [0; 4], costs, effects: Effects::default(), unpriced: [0; 2] }
    }

    fn add(&mut self, line: &ComparedLine) {
        self.counts[line.kind as usize - 1] += 1;
        for side in 0..2 {
            self.costs[side] += line.costs[side].clone().unwrap_or_default();
            self.unpriced[side] += u64::from(line.unpriced[side]);
        }
        self.effects += &line.effects;
    }
}

// === impl Comparison ===

impl Comparison {
    /// Finds the bills. No line is read yet.
    ///
    /// # Errors
    ///
    /// [`ReportError::OrganizationNotFound`], [`ReportError::TenantNotFound`], or [`ReportError::Invalid`] for a field of the
    /// request.
    pub async fn open(
        store: Store,
        budget: &GroupBudget,
        scope: &TenantScope,
        request: CompareRequest,
    ) -> Result<Self, ReportError> {
        let CompareRequest { organization_id, tenant_id, base, target, top_assets } = request;
        let asked = [base, target];
        let (organization, snapshots, meters) = tokio::join!(
            store.find_organization(scope, organization_id),
            snapshots(&store, [asked[0].as_of, asked[1].as_of]),
            store.meters()
        );
        // Callers who may not see the organization must not learn anything else.
        let organization = organization?.visible().map_err(ReportError::OrganizationNotFound)?;
        let (snapshots, meters) = (snapshots?, meters?);
        let drafted = [asked[0].draft.is_some(), asked[1].draft.is_some()];
        let bill = |side: usize| AskedBill {
            month: asked[side].month,
            as_of: snapshots[side],
            by_statement: asked[side].basis == CostBasis::Bill,
            is_drafted: drafted[side],
        };
        let bills = store.compare_bills(&organization, tenant_id, [bill(0), bill(1)]).await?;
        let Some(mut bills) = bills else {
            // Only a tenant may be missing.
            let hidden = match tenant_id {
                Some(tenant) => hidden(&store, scope, tenant).await?,
                None => Hidden::Unknown,
            };
            return Err(ReportError::TenantNotFound(hidden));
        };
        let currency = organization.currency();
        let [base, target] = asked;
        let mut rates = |side: usize, draft: Option<&PriceListDraft>| {
            let mut prices = std::mem::take(&mut bills.sides[side].prices);
            if let Some(draft) = draft {
                draft::apply(draft, &mut prices, &meters, currency).map_err(|error| within(SIDES[side], error))?;
            }
            Ok::<_, InvalidField>(Rates::new(meters.clone(), prices, currency))
        };
        let rates = [rates(0, base.draft.as_ref())?, rates(1, target.draft.as_ref())?];
        let header = ComparisonHeader {
            organization_id: organization.id(),
            organization_name: organization.name().to_owned(),
            currency,
            sides: [0, 1].map(|side| ComparedSide::of(&bills.sides[side], drafted[side])),
        };
        let summary = ComparisonSummary::new(currency);
        let assets = (top_assets > 0).then(|| {
            let reader = MonthReader::by_asset(store.clone(), scope.clone(), meters, budget.clone());
            AssetMovements::new(reader, currency, budget.permit(), top_assets)
        });
        Ok(Self { store, header, bills, rates, next: Next::First, summary, assets, looked_at_next: None })
    }

    pub fn header(&self) -> &ComparisonHeader {
        &self.header
    }

    /// What the lines that were returned add up to.
    pub fn summary(&self) -> &ComparisonSummary {
        &self.summary
    }

    /// The next lines, at least one; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`ReportError::NamesChanged`] if tenants were renamed since the lines before.
    pub async fn next(&mut self) -> Result<Option<Vec<ComparedLine>>, ReportError> {
        loop {
            if let (Some((part, pairs)), Some(assets)) = (self.looked_at_next.take(), &mut self.assets) {
                assets.add(&part, &self.bills, pairs).await?;
            }
            let (after, expected) = match &self.next {
                Next::First => (None, None),
                Next::Behind(tenant, names) => (Some(tenant), Some(*names)),
                Next::End => return Ok(None),
            };
            let part = self.store.compared_part(&self.bills, after).await?;
            if expected.is_some_and(|expected| expected != part.names) {
                return Err(ReportError::NamesChanged);
            }
            self.next = match &part.last {
                Some(last) => Next::Behind(last.clone(), part.names_behind),
                None => Next::End,
            };
            let pairs = join_lines(&part, &self.bills, &self.rates)?;
            let mut lines = Vec::with_capacity(pairs.len());
            for pair in &pairs {
                let tenant = part.tenants.get(pair.tenant).ok_or_else(|| StoreError::corrupt("a line of no tenant"))?;
                lines.push(pair.compare(tenant, &self.bills, &self.rates)?);
            }
            lines.iter().for_each(|line| self.summary.add(line));
            if !lines.is_empty() {
                // Whoever reads has the lines meanwhile.
                self.looked_at_next = Some((part, pairs));
                return Ok(Some(lines));
            }
        }
    }
}

impl Comparison {
    /// The assets that moved most, the most first, or why they are left out. To be asked for once, behind all lines.
    pub fn take_assets(&mut self) -> Result<Vec<MovedAsset>, AssetsLeftOut> {
        self.assets.take().map_or(Ok(Vec::new()), AssetMovements::finish)
    }
}

// === impl ComparedSide ===

impl ComparedSide {
    fn of(bill: &ComparedBill, is_drafted: bool) -> Self {
        Self {
            month: bill.month,
            as_of: bill.as_of.time(),
            state: if bill.is_closed { BillState::Closed } else { BillState::Open },
            statement: bill.statement.as_ref().map(|statement| statement.number),
            is_drafted,
        }
    }
}

/// The moments of the sides. The present is one for both.
async fn snapshots(store: &Store, asked: [Option<UtcTime>; 2]) -> Result<[SnapshotTime; 2], ReportError> {
    let present = if asked.contains(&None) { Some(store.snapshot().await?) } else { None };
    let snapshot = async |side: usize| {
        let snapshot = match (asked[side], present) {
            (None, Some(present)) => Ok(present),
            (as_of, _) => manifest::snapshot(store, as_of).await,
        };
        snapshot.map_err(|error| match error {
            ReportError::Invalid(error) => within(SIDES[side], error).into(),
            error => error,
        })
    };
    Ok([snapshot(0).await?, snapshot(1).await?])
}

/// An error of a field of a side.
fn within(side: &str, error: InvalidField) -> InvalidField {
    InvalidField { field: format!("{side}.{}", error.field), ..error }
}
