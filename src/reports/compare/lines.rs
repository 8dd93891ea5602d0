//! Joins the lines of two bills. Reads nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bigdecimal::{BigDecimal, Zero as _};

use super::{ComparedLine, ComparisonKind, Effects, effects::ExactCosts};
use crate::{
    model::BillingRegion,
    reports::costs::{
        CostLine,
        compute::{RatedLine, Rates},
        document::read_line,
    },
    store::{
        BilledKey, ComparedBill, ComparedBills, ComparedPart, CostTenant, MeterKey, SidePart, StoreError, TenantKey,
    },
};

/// A line as it is in both bills.
pub(super) struct LinePair {
    /// The position of its tenant in the part.
    pub(super) tenant: usize,
    pub(super) meter: MeterKey,
    pub(super) billing_region: BillingRegion,
    pub(super) lines: [Option<CostLine>; 2],
}

/// The lines of some tenants in both bills, in the order of bills.
pub(super) fn join_lines(
    part: &ComparedPart,
    bills: &ComparedBills,
    rates: &[Rates; 2],
) -> Result<Vec<LinePair>, StoreError> {
    let tenants: HashMap<TenantKey, usize> =
        part.tenants.iter().enumerate().map(|(position, tenant)| (tenant.key, position)).collect();
    let meters = rates[0].meters();
    let mut pairs: BTreeMap<(usize, usize, BillingRegion), LinePair> = BTreeMap::new();
    for (side, (part, bill)) in part.sides.iter().zip(&bills.sides).enumerate() {
        for (BilledKey { tenant, meter, billing_region, .. }, line) in side_lines(part, bill, &rates[side])? {
            let tenant = *tenants.get(&tenant).ok_or_else(|| StoreError::corrupt("a line of another tenant"))?;
            let place = (tenant, meters.position(meter)?, billing_region);
            let none = || LinePair { tenant, meter, billing_region, lines: [None, None] };
            pairs.entry(place).or_insert_with(none).lines[side] = Some(line);
        }
    }
    Ok(pairs.into_values().collect())
}

/// The lines that a bill has of some tenants, in no order.
fn side_lines(part: &SidePart, bill: &ComparedBill, rates: &Rates) -> Result<Vec<(BilledKey, CostLine)>, StoreError> {
    match part {
        SidePart::Usage(part) => {
            Ok(rates.lines(part, [])?.into_iter().map(|RatedLine { key, line }| (key, line)).collect())
        }
        SidePart::Statement { lines, .. } => {
            lines.iter().map(|(key, content)| Ok((*key, read_line(content, bill.month)?))).collect()
        }
        SidePart::Nothing => Ok(Vec::new()),
    }
}

// === impl LinePair ===

impl LinePair {
    /// Compares the two, by what each bill is rated by.
    pub(super) fn compare(
        &self,
        tenant: &CostTenant,
        bills: &ComparedBills,
        rates: &[Rates; 2],
    ) -> Result<ComparedLine, StoreError> {
        let zero = || rates[0].currency().zero();
        let quantities =
            self.lines.each_ref().map(|line| line.as_ref().map_or_else(BigDecimal::zero, |line| line.quantity.clone()));
        let costs =
            self.lines.each_ref().map(|line| line.as_ref().map_or_else(|| Some(zero()), |line| line.cost.clone()));
        let exact_cost = |side: usize, quantity: &BigDecimal| {
            rates[side].exact_cost(self.meter, self.billing_region, bills.sides[side].month, quantity)
        };
        let base = exact_cost(0, &quantities[0]);
        let target_by_base = exact_cost(0, &quantities[1]);
        let target = exact_cost(1, &quantities[1]);
        let unpriced = [base.is_none() || target_by_base.is_none(), target.is_none()];
        let exact = ExactCosts {
            base: base.unwrap_or_default(),
            target_by_base: target_by_base.unwrap_or_default(),
            target: target.unwrap_or_default(),
        };
        let [base_cost, target_cost] = costs.clone().map(Option::unwrap_or_default);
        let effects = Effects::new(&base_cost, &target_cost, &exact);
        let is_same = quantities[0] == quantities[1] && costs[0] == costs[1] && effects.are_none();
        let kind = match &self.lines {
            [Some(_), Some(_)] if is_same => ComparisonKind::Unchanged,
            [Some(_), Some(_)] => ComparisonKind::Changed,
            [None, _] => ComparisonKind::New,
            [Some(_), None] => ComparisonKind::Vanished,
        };
        Ok(ComparedLine {
            tenant: tenant.clone(),
            meter: Arc::clone(rates[0].meters().get(self.meter)?),
            billing_region: self.billing_region,
            kind,
            quantities,
            costs,
            effects,
            unpriced,
        })
    }
}
