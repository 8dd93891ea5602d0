//! Joins the lines of two bills. Reads nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bigdecimal::{BigDecimal, Zero as _};

use super::{ComparedLine, ComparisonKind, Effects, effects::ExactCosts};
use crate::{
    model::{BillingRegion, Month},
    reports::costs::{
        CostLine,
        compute::{RatedLine, Rates},
        document::read_line,
    },
    store::{BilledKey, ComparedBill, ComparedBills, ComparedPart, MeterKey, SidePart, StoreError, TenantKey},
};

/// The lines of some tenants in both bills, in the order of bills.
pub(super) fn compare_lines(
    part: &ComparedPart,
    bills: &ComparedBills,
    rates: &[Rates; 2],
) -> Result<Vec<ComparedLine>, StoreError> {
    let tenants: HashMap<TenantKey, usize> =
        part.tenants.iter().enumerate().map(|(position, tenant)| (tenant.key, position)).collect();
    let meters = rates[0].meters();
    let mut lines: BTreeMap<(usize, usize, BillingRegion), [Option<CostLine>; 2]> = BTreeMap::new();
    for (side, (part, bill)) in part.sides.iter().zip(&bills.sides).enumerate() {
        for (key, line) in side_lines(part, bill, &rates[side])? {
            let tenant = tenants.get(&key.tenant).ok_or_else(|| StoreError::corrupt("a line of another tenant"))?;
            let place = (*tenant, meters.position(key.meter)?, key.billing_region);
            lines.entry(place).or_default()[side] = Some(line);
        }
    }
    let months = [0, 1].map(|side| bills.sides[side].month);
    let compared = lines.into_iter().filter_map(|((tenant, meter, billing_region), found)| {
        let (tenant, (key, meter)) = (part.tenants.get(tenant)?, meters.at(meter)?);
        let sides = Sides { rates, months, meter: *key, billing_region };
        Some(sides.compare(found, |joined| ComparedLine {
            tenant: tenant.clone(),
            meter: Arc::clone(meter),
            billing_region,
            kind: joined.kind,
            quantities: joined.quantities,
            costs: joined.costs,
            effects: joined.effects,
            unpriced: joined.unpriced,
        }))
    });
    Ok(compared.collect())
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

/// What a line is rated by in both bills.
struct Sides<'a> {
    rates: &'a [Rates; 2],
    months: [Month; 2],
    meter: MeterKey,
    billing_region: BillingRegion,
}

/// What is compared of a line.
struct Joined {
    kind: ComparisonKind,
    quantities: [BigDecimal; 2],
    costs: [Option<BigDecimal>; 2],
    effects: Effects,
    unpriced: [bool; 2],
}

// === impl Sides ===

impl Sides<'_> {
    fn compare(&self, lines: [Option<CostLine>; 2], make: impl FnOnce(Joined) -> ComparedLine) -> ComparedLine {
        let [is_in_base, is_in_target] = [lines[0].is_some(), lines[1].is_some()];
        let currency = self.rates[0].currency();
        let [(base_quantity, base_cost), (target_quantity, target_cost)] = lines.map(|line| match line {
            Some(line) => (line.quantity, line.cost),
            None => (BigDecimal::zero(), Some(currency.zero())),
        });
        let base = self.exact_cost(0, &base_quantity);
        let target_by_base = self.exact_cost(0, &target_quantity);
        let target = self.exact_cost(1, &target_quantity);
        let unpriced = [base.is_none() || target_by_base.is_none(), target.is_none()];
        let exact = ExactCosts {
            base: base.unwrap_or_default(),
            target_by_base: target_by_base.unwrap_or_default(),
            target: target.unwrap_or_default(),
        };
        let cost = |cost: &Option<BigDecimal>| cost.clone().unwrap_or_default();
        let effects = Effects::new(&cost(&base_cost), &cost(&target_cost), &exact);
        let is_same = base_quantity == target_quantity && base_cost == target_cost && effects.are_none();
        let kind = match (is_in_base, is_in_target) {
            (true, true) if is_same => ComparisonKind::Unchanged,
            (true, true) => ComparisonKind::Changed,
            (false, _) => ComparisonKind::New,
            (true, false) => ComparisonKind::Vanished,
        };
        let (quantities, costs) = ([base_quantity, target_quantity], [base_cost, target_cost]);
        make(Joined { kind, quantities, costs, effects, unpriced })
    }

    /// `None`: no price covers it.
    fn exact_cost(&self, side: usize, quantity: &BigDecimal) -> Option<BigDecimal> {
        self.rates[side].exact_cost(self.meter, self.billing_region, self.months[side], quantity)
    }
}
