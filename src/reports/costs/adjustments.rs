//! Adjustments: what closed months would cost now, less what statements have billed for them.

use std::collections::HashMap;

use bigdecimal::{BigDecimal, Zero as _};

use super::{
    CostAdjustment,
    compute::{RatedLine, Rates, tenant_months},
};
use crate::{
    model::{Month, TenantId},
    store::{BilledKey, CostPart, CostReader, LateMonth, StoreError},
};

/// How many months of tenants are looked at at once.
const PART: usize = 100;

/// Goes through the months that may have to be adjusted, part by part.
pub(crate) struct Adjustments {
    /// The month on whose bill they are.
    billing_month: Month,
    late: Vec<LateMonth>,
    next: usize,
}

// === impl Adjustments ===

impl Adjustments {
    /// `late`: the months of tenants that may have to be adjusted, in order.
    pub(crate) fn new(billing_month: Month, late: Vec<LateMonth>) -> Self {
        Self { billing_month, late, next: 0 }
    }

    /// Goes on at a tenant's month, if it is there.
    pub(super) fn seek(&mut self, month: Month, tenant: TenantId) {
        let found = self.late.iter().position(|late| (late.month, late.tenant_id) == (month, tenant));
        self.next = found.unwrap_or(0);
    }

    /// A digest of which months of tenants there are, in their order.
    pub(super) fn names(&self) -> i64 {
        let order = self.late.iter().flat_map(|late| format!("{} {}\n", late.month, late.tenant_id).into_bytes());
        i64::from_be_bytes(crate::reports::token::short_digest(&order.collect::<Vec<_>>()))
    }

    /// The adjustments of the next part; `None` after the last.
    pub(crate) async fn next_part(
        &mut self,
        reader: &CostReader,
        rates: &Rates,
    ) -> Result<Option<Vec<(BilledKey, CostAdjustment)>>, StoreError> {
        let rest = self.late.get(self.next..).unwrap_or_default();
        let late = rest.get(..PART).unwrap_or(rest);
        if late.is_empty() {
            return Ok(None);
        }
        let (part, billed) = reader.late_part(late).await?;
        self.next += late.len();
        adjust(self.billing_month, &part, &billed, rates).map(Some)
    }
}

/// The lines of a part that cost something else than was billed for them.
fn adjust(
    billing_month: Month,
    part: &CostPart,
    billed: &HashMap<BilledKey, BigDecimal>,
    rates: &Rates,
) -> Result<Vec<(BilledKey, CostAdjustment)>, StoreError> {
    let reports = tenant_months(part);
    let mut adjustments = Vec::new();
    for RatedLine { key, line } in rates.lines(part, billed.keys())? {
        let billed = rates.currency().zero() + billed.get(&key).cloned().unwrap_or_default();
        let amount = line.cost.clone().unwrap_or_default() - &billed;
        if amount.is_zero() {
            continue;
        }
        let report = reports
            .get(&(line.month, line.tenant_id))
            .ok_or_else(|| StoreError::corrupt("a statement has billed a month that has no report"))?;
        let revision = report.revision;
        adjustments.push((key, CostAdjustment { billing_month, line, billed, amount, revision }));
    }
    Ok(adjustments)
}
