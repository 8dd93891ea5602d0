//! What can be said of a bill's charges before they are read.

use std::sync::Arc;

use super::{FocusRequest, assets::PART_PLACES, charge::FocusCharge};
use crate::{
    auth::TenantScope,
    model::{Digits, UtcTime},
    reports::{CostForms, CostPages, CostTotals, InvalidField, ReportError},
    store::Store,
};

pub struct FocusOutline {
    /// Of quantities, and of prices and costs.
    pub forms: CostForms,
    /// `None`: it is not known before records are read.
    pub charge_count: Option<u64>,
    pub as_of: UtcTime,
}

// === impl FocusOutline ===

impl FocusOutline {
    /// Goes over the whole bill, since columns have as many digits as their longest number.
    ///
    /// # Errors
    ///
    /// Those of [`get_costs`](crate::reports::get_costs), and [`ReportError::Invalid`] for a bill with too many digits.
    pub async fn find(
        store: &Store,
        totals: &Arc<CostTotals>,
        scope: &TenantScope,
        request: &FocusRequest,
    ) -> Result<Self, ReportError> {
        let mut pages = CostPages::new(store.clone(), Arc::clone(totals), scope.clone(), request.costs()).await?;
        let (mut quantities, mut prices, mut costs) = (Digits::default(), Digits::default(), Digits::default());
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            let lines = page.lines.into_iter().map(Arc::new);
            let of_lines = lines.flat_map(|line| FocusCharge::all_of(&line));
            for charge in of_lines.chain(page.adjustments.into_iter().map(FocusCharge::of_adjustment)) {
                count += 1;
                costs = costs.and([&charge.list_cost, &charge.billed_cost]);
                quantities = quantities.and(charge.priced.as_ref().map(|priced| &priced.quantity));
                prices = prices.and(charge.priced.as_ref().map(|priced| &priced.unit_price));
            }
        }
        let as_of = pages.as_of();
        if request.by_asset {
            let FocusRequest { organization_id, tenant_id, months, .. } = *request;
            let places = store.quantity_places(organization_id, tenant_id, months, as_of).await?;
            quantities = quantities.with_places(places.max(PART_PLACES));
            costs = costs.or(quantities.times(prices));
        }
        let (Some(quantities), Some(amounts)) = (quantities.quantity_form(), costs.or(prices).quantity_form()) else {
            let method = if request.by_asset { "GetCostBreakdown" } else { "GetMonthlyCosts" };
            let reason =
                format!("numbers of these costs have more digits than columns can have; {method} has them as text");
            return Err(InvalidField::new("descriptor", reason).into());
        };
        Ok(Self { forms: CostForms { quantities, amounts }, charge_count: (!request.by_asset).then_some(count), as_of })
    }
}
