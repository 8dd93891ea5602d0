//! What a change of prices would do to bills, before it is made: of every organization, each month as it costs now beside what
//! it would cost.

use std::collections::BTreeMap;

use bigdecimal::{BigDecimal, Zero as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    BillRequest, BillState, CompareRequest, ComparedLine, Comparison, ComparisonHeader, ComparisonSummary, CostBasis,
    GroupBudget, ReportError, largest::Largest,
};
use crate::{
    auth::TenantScope,
    catalog::PriceListDraft,
    model::{Currency, Month, MonthRange, OrganizationId, UtcTime},
    store::Store,
};

/// How many organizations are compared side by side.
const COMPARED_AT_ONCE: usize = 4;
/// How often an organization is compared again where names have changed meanwhile.
const MAX_RESTARTS: u32 = 5;

/// What would change.
#[derive(Debug, Default)]
pub struct Preview {
    /// The months of organizations that would cost something else, by organization and month.
    pub months: Vec<MovedMonth>,
    /// How many months of organizations have usage and would cost the same.
    pub unchanged: usize,
    /// The lines that would move most, by currency, of each the most first.
    pub lines: Vec<MovedLine>,
    /// Lines that have a price now and would have none: the first of them.
    pub unpriced: Vec<MovedLine>,
    pub unpriced_count: usize,
}

/// A month of an organization whose costs would change.
#[derive(Clone, Debug)]
pub struct MovedMonth {
    pub organization: OrganizationId,
    pub organization_name: String,
    pub month: Month,
    /// Whether its bill stays, so that the difference is adjusted on a later one.
    pub state: BillState,
    pub currency: Currency,
    /// What it costs now, and what it would cost.
    pub costs: [BigDecimal; 2],
}

#[derive(Clone, Debug)]
pub struct MovedLine {
    pub organization_name: String,
    pub month: Month,
    pub currency: Currency,
    pub line: ComparedLine,
}

/// A month of an organization, compared.
struct ComparedMonth {
    header: ComparisonHeader,
    summary: ComparisonSummary,
    lines: Largest<MovedLine>,
    /// Whether any of its lines would cost something else.
    moves: bool,
    unpriced: Vec<MovedLine>,
    unpriced_count: usize,
}

// === impl Preview ===

impl Preview {
    /// How many lines that move most are kept of each currency, and how many without a price.
    pub const LINES: usize = 10;

    /// Compares the months of the organizations that are billed in one of these currencies; `None`: of all.
    pub async fn read(
        store: &Store,
        scope: &TenantScope,
        draft: &PriceListDraft,
        currencies: Option<&[Currency]>,
        months: MonthRange,
    ) -> Result<Self, ReportError> {
        let organizations = store.organizations_billed_in(currencies, months).await?;
        // All of one moment.
        let as_of = store.snapshot().await?.time();
        let asked =
            organizations.into_iter().flat_map(|organization| months.iter().map(move |month| (organization, month)));
        let compared = stream::iter(asked)
            .map(|(organization, month)| compare(store, scope, draft, (organization, month), as_of))
            .buffered(COMPARED_AT_ONCE);
        let mut preview = Self::default();
        let mut lines: BTreeMap<&str, Largest<MovedLine>> = BTreeMap::new();
        let mut compared = std::pin::pin!(compared);
        while let Some(month) = compared.try_next().await? {
            let of_currency = lines.entry(month.header.currency.code()).or_insert_with(|| Largest::new(Self::LINES));
            preview.add(month, of_currency);
        }
        preview.lines = lines.into_values().flat_map(Largest::into_items).collect();
        Ok(preview)
    }

    fn add(&mut self, compared: ComparedMonth, of_currency: &mut Largest<MovedLine>) {
        let ComparedMonth { header, summary, lines, moves, unpriced, unpriced_count } = compared;
        let [side, _] = header.sides;
        if moves {
            self.months.push(MovedMonth {
                organization: header.organization_id,
                organization_name: header.organization_name,
                month: side.month,
                state: side.state,
                currency: header.currency,
                costs: summary.costs,
            });
        } else if summary.counts.iter().any(|&count| count > 0) {
            self.unchanged += 1;
        }
        of_currency.merge(lines);
        self.unpriced.extend(unpriced);
        self.unpriced.truncate(Self::LINES);
        self.unpriced_count += unpriced_count;
    }
}

async fn compare(
    store: &Store,
    scope: &TenantScope,
    draft: &PriceListDraft,
    (organization_id, month): (OrganizationId, Month),
    as_of: UtcTime,
) -> Result<ComparedMonth, ReportError> {
    let bill = |draft| BillRequest { month, as_of: Some(as_of), basis: CostBasis::Current, draft };
    let mut restarts = 0;
    loop {
        let request = CompareRequest {
            organization_id,
            tenant_id: None,
            base: bill(None),
            target: bill(Some(draft.clone())),
            top_assets: 0,
        };
        match read(Comparison::open(store.clone(), &GroupBudget::default(), scope, request).await?).await {
            Err(ReportError::NamesChanged) if restarts < MAX_RESTARTS => restarts += 1,
            compared => return compared,
        }
    }
}

async fn read(mut comparison: Comparison) -> Result<ComparedMonth, ReportError> {
    let (mut lines, mut moves) = (Largest::new(Preview::LINES), false);
    let (mut unpriced, mut unpriced_count) = (Vec::new(), 0);
    let header = comparison.header().clone();
    let (month, currency) = (header.sides[0].month, header.currency);
    let moved = |line| MovedLine { organization_name: header.organization_name.clone(), month, currency, line };
    while let Some(part) = comparison.next().await? {
        for line in part {
            let amount = line.difference().abs();
            moves |= !amount.is_zero() || line.unpriced == [false, true] || line.unpriced == [true, false];
            if line.unpriced == [false, true] {
                unpriced_count += 1;
                if unpriced.len() < Preview::LINES {
                    unpriced.push(moved(line.clone()));
                }
            }
            if !amount.is_zero() {
                lines.add(amount, moved(line));
            }
        }
    }
    Ok(ComparedMonth { summary: comparison.summary().clone(), header, lines, moves, unpriced, unpriced_count })
}
