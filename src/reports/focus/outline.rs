//! What can be said of a bill's charges before they are read.

use std::{collections::HashMap, sync::Arc};

use bigdecimal::Zero as _;

use super::{
    FocusRequest,
    assets::PART_PLACES,
    charge::{ChargeKind, FocusCharge},
};
use crate::{
    auth::TenantScope,
    model::{Digits, MeterId, UtcTime},
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
        let as_of = pages.as_of();
        let (mut quantities, mut amounts, mut count) = (Digits::default(), Digits::default(), 0);
        // Of the parts of lines, by their meters. Behind the first page, since that finds out who may know.
        let mut places: Option<HashMap<MeterId, u8>> = None;
        while let Some(page) = pages.next().await? {
            if request.by_asset && places.is_none() {
                let FocusRequest { organization_id, tenant_id, months, .. } = *request;
                places = Some(store.quantity_places(organization_id, tenant_id, months, as_of).await?);
            }
            let lines = page.lines.into_iter().map(Arc::new);
            let of_lines = lines.flat_map(|line| FocusCharge::all_of(&line));
            for charge in of_lines.chain(page.adjustments.into_iter().map(FocusCharge::of_adjustment)) {
                count += 1;
                amounts = amounts.and([&charge.list_cost, &charge.billed_cost]);
                let Some(priced) = &charge.priced else { continue };
                let (mut quantity, price) = (Digits::of(&priced.quantity), Digits::of(&priced.unit_price));
                amounts = amounts.or(price);
                if let Some(places) = &places {
                    let of_assets = places.get(&charge.line.meter.id).copied().unwrap_or_default();
                    let of_parts = if matches!(charge.kind, ChargeKind::Tier(_)) { PART_PLACES } else { 0 };
                    quantity = quantity.with_places(of_assets.max(of_parts));
                    if !priced.unit_price.is_zero() {
                        amounts = amounts.or(quantity.times(price));
                    }
                }
                quantities = quantities.or(quantity);
            }
        }
        let (Some(quantities), Some(amounts)) = (quantities.quantity_form(), amounts.quantity_form()) else {
            let method = if request.by_asset { "GetCostBreakdown" } else { "GetMonthlyCosts" };
            let reason =
                format!("numbers of these costs have more digits than columns can have; {method} has them as text");
            return Err(InvalidField::new("descriptor", reason).into());
        };
        Ok(Self { forms: CostForms { quantities, amounts }, charge_count: (!request.by_asset).then_some(count), as_of })
    }
}
