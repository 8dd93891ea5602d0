//! Bills in the terms of FOCUS, the FinOps Open Cost and Usage Specification: each line as charges, which add up to what is due.

mod assets;
mod charge;
mod outline;
mod provider;

use std::{collections::BTreeMap, sync::Arc};

use bigdecimal::BigDecimal;

pub use charge::{ChargeKind, FocusCharge, PricedQuantity};
pub use outline::FocusOutline;
pub use provider::{FocusProvider, SERVICE_NAME};

use super::{
    Breakdown, BreakdownRequest, CostBasis, CostPages, CostShare, CostTotal, CostTotals, Costs, CostsRequest,
    GroupBudget, PageSize, ReportError,
};
use crate::{
    auth::TenantScope,
    model::{
        BillSubject, BreakdownFilter, CostGroup, Currency, FocusVersion, Month, MonthRange, OrganizationId, TenantId,
        UtcTime,
    },
    store::{Store, StoreError},
};
use assets::TierRest;

/// Charges of assets are handed on when there are so many: a share has one for each tier of its line.
const ENOUGH: usize = 1000;

#[derive(Clone, Debug)]
pub struct FocusRequest {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub months: MonthRange,
    /// The usage, prices and statements as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    pub version: FocusVersion,
    /// Whether lines are shared among assets.
    pub by_asset: bool,
}

/// What charges have in common.
#[derive(Clone, Debug)]
pub struct FocusHeader {
    pub organization_id: OrganizationId,
    pub organization_name: String,
    pub currency: Currency,
    pub as_of: UtcTime,
    /// What the charges of each bill add up to.
    pub totals: Arc<[CostTotal]>,
}

/// What is not among charges.
#[derive(Clone, Copy, Debug, Default)]
pub struct FocusGaps {
    /// Lines with usage that no price covers.
    pub unpriced_lines: u64,
    /// Reports of tenants for which days are missing.
    pub incomplete_reports: u64,
}

/// The charges of a bill, being read.
pub struct FocusReader {
    header: FocusHeader,
    /// The first page, until it is wanted.
    page: Option<Costs>,
    /// By asset, they are read for what they have besides lines.
    pages: CostPages,
    /// The lines, shared among assets. Behind the pages, so that nobody is renamed meanwhile.
    breakdown: Option<Breakdown>,
    /// Shares that were read.
    shares: std::vec::IntoIter<CostShare>,
    /// The last report with days that are missing: it may be on the next page, too.
    incomplete: Option<(Month, TenantId)>,
    tiers: TierRest,
    sums: BTreeMap<Month, BigDecimal>,
    gaps: FocusGaps,
}

// === impl FocusRequest ===

impl FocusRequest {
    /// The request for all pages of the bill.
    fn costs(&self) -> CostsRequest {
        CostsRequest {
            organization_id: self.organization_id,
            tenant_id: self.tenant_id,
            months: self.months,
            as_of: self.as_of,
            basis: CostBasis::Bill,
            page_size: PageSize::MAX_LINES,
            page_token: String::new(),
        }
    }

    fn shares(&self, as_of: UtcTime) -> BreakdownRequest {
        BreakdownRequest {
            subject: BillSubject::Organization(self.organization_id, self.tenant_id),
            months: self.months,
            groups: std::iter::once(CostGroup::Asset).collect(),
            filter: BreakdownFilter::default(),
            as_of: Some(as_of),
            basis: CostBasis::Bill,
        }
    }
}

// === impl FocusReader ===

impl FocusReader {
    /// # Errors
    ///
    /// Those of [`get_costs`](super::get_costs), and of [`Breakdown::open`].
    pub async fn open(
        store: Store,
        (totals, budget): (Arc<CostTotals>, &GroupBudget),
        scope: &TenantScope,
        request: &FocusRequest,
    ) -> Result<Self, ReportError> {
        let mut pages = CostPages::new(store.clone(), totals, scope.clone(), request.costs()).await?;
        let as_of = pages.as_of();
        let page = pages.next().await?.ok_or_else(|| StoreError::corrupt("a bill has no page"))?;
        let breakdown = if request.by_asset {
            Some(Breakdown::open(store, budget, scope, request.shares(as_of)).await?)
        } else {
            None
        };
        let header = FocusHeader {
            organization_id: page.organization_id,
            organization_name: page.organization_name.clone(),
            currency: page.currency,
            as_of,
            totals: Arc::clone(&page.totals),
        };
        Ok(Self {
            header,
            page: Some(page),
            pages,
            breakdown,
            shares: Vec::new().into_iter(),
            incomplete: None,
            tiers: TierRest::default(),
            sums: BTreeMap::new(),
            gaps: FocusGaps::default(),
        })
    }

    pub fn header(&self) -> &FocusHeader {
        &self.header
    }

    /// What is known when all charges were read.
    pub fn gaps(&self) -> FocusGaps {
        self.gaps
    }

    /// The next charges; `None` at the end, when they add up to what is due.
    ///
    /// # Errors
    ///
    /// The store failed, names have changed, or the charges do not add up.
    pub async fn next(&mut self) -> Result<Option<Vec<FocusCharge>>, ReportError> {
        let mut charges = Vec::new();
        while charges.is_empty() {
            if let Some(page) = self.next_page().await? {
                charges = self.of_page(page);
            } else if !self.next_shares(&mut charges).await? {
                return Ok(self.check().map(|()| None)?);
            }
        }
        for charge in &charges {
            *self.sums.entry(charge.billing_month).or_default() += &charge.billed_cost;
        }
        Ok(Some(charges))
    }

    async fn next_page(&mut self) -> Result<Option<Costs>, ReportError> {
        if let Some(page) = self.page.take() {
            return Ok(Some(page));
        }
        self.pages.next().await.map_err(|error| match error {
            // There are no pages for who reads charges.
            ReportError::PageTokenExpired => ReportError::NamesChanged,
            error => error,
        })
    }

    /// Appends charges of assets. `false`: there are no more.
    async fn next_shares(&mut self, charges: &mut Vec<FocusCharge>) -> Result<bool, ReportError> {
        if self.shares.len() == 0 {
            let Some(breakdown) = &mut self.breakdown else { return Ok(false) };
            let Some(chunk) = breakdown.next().await? else { return Ok(false) };
            self.shares = chunk.rows.into_iter();
        }
        while charges.len() < ENOUGH
            && let Some(share) = self.shares.next()
        {
            charges.extend(self.tiers.charges(share)?);
        }
        Ok(true)
    }

    fn of_page(&mut self, page: Costs) -> Vec<FocusCharge> {
        self.gaps.unpriced_lines += page.lines.iter().filter(|line| line.cost.is_none()).count() as u64;
        for report in page.tenant_months.iter().filter(|report| !report.missing_days.is_empty()) {
            let report = Some((report.month, report.tenant_id));
            self.gaps.incomplete_reports += u64::from(self.incomplete != report);
            self.incomplete = report;
        }
        let lines = if self.breakdown.is_some() { Vec::new() } else { page.lines };
        let mut charges: Vec<_> = lines.into_iter().map(Arc::new).flat_map(|line| FocusCharge::all_of(&line)).collect();
        charges.extend(page.adjustments.into_iter().map(FocusCharge::of_adjustment));
        charges
    }

    fn check(&self) -> Result<(), StoreError> {
        for total in &*self.header.totals {
            let due = &total.cost + &total.adjustment;
            let sum = self.sums.get(&total.month).cloned().unwrap_or_default();
            if sum != due {
                return Err(StoreError::Corrupt(format!("charges of {} add up to {sum}, not to {due}", total.month)));
            }
        }
        Ok(())
    }
}
