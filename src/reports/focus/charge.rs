//! The charges of a line of a bill.

use std::sync::Arc;

use bigdecimal::{BigDecimal, Zero as _};

use crate::{
    model::{Asset, Month},
    reports::{CostAdjustment, CostLine},
};

/// A row of FOCUS: a part of a line.
#[derive(Clone, Debug)]
pub struct FocusCharge {
    pub line: Arc<CostLine>,
    /// On the bill of this month.
    pub billing_month: Month,
    /// Whose charge it is, where charges are by asset.
    pub asset: Option<Arc<Asset>>,
    pub kind: ChargeKind,
    /// `None`: it is not a quantity times a price.
    pub priced: Option<PricedQuantity>,
    /// Exact: the quantity times the price, or else the billed cost.
    pub list_cost: BigDecimal,
    pub billed_cost: BigDecimal,
}

#[derive(Clone, Debug)]
pub struct PricedQuantity {
    /// In the meter's unit.
    pub quantity: BigDecimal,
    /// Of one unit.
    pub unit_price: BigDecimal,
}

/// What a charge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeKind {
    /// The quantity in a tier, by the tier's index in its line.
    Tier(usize),
    /// Usage under trial, which costs nothing.
    Trial,
    /// Usage of a meter that is not charged.
    Uncharged,
    /// What the rounding of the line has added, or taken away.
    Rounding,
    /// What has changed of a line of a closed month.
    Correction,
}

// === impl FocusCharge ===

impl FocusCharge {
    fn new(line: &Arc<CostLine>, kind: ChargeKind, billed_cost: BigDecimal) -> Self {
        Self {
            line: Arc::clone(line),
            billing_month: line.month,
            asset: None,
            kind,
            priced: None,
            list_cost: billed_cost.clone(),
            billed_cost,
        }
    }

    /// A part of the quantity of a tier, which is billed as it is listed.
    pub(super) fn of_tier(line: &Arc<CostLine>, tier: usize, priced: PricedQuantity) -> Self {
        let cost = &priced.quantity * &priced.unit_price;
        Self { priced: Some(priced), ..Self::new(line, ChargeKind::Tier(tier), cost) }
    }

    /// Usage that costs nothing; `None`: there is none.
    pub(super) fn free(line: &Arc<CostLine>, kind: ChargeKind, quantity: &BigDecimal) -> Option<Self> {
        let priced = PricedQuantity { quantity: quantity.clone(), unit_price: BigDecimal::zero() };
        (!quantity.is_zero()).then(|| Self { priced: Some(priced), ..Self::new(line, kind, BigDecimal::zero()) })
    }

    /// All of a line. Where no price covers its usage, it has no charge for that.
    pub(super) fn all_of(line: &Arc<CostLine>) -> Vec<Self> {
        let mut charges = Vec::with_capacity(line.tiers.len() + 2);
        if let Some(cost) = &line.cost {
            for (index, tier) in line.tiers.iter().enumerate() {
                let priced = PricedQuantity { quantity: tier.quantity.clone(), unit_price: tier.unit_price.clone() };
                charges.push(Self::of_tier(line, index, priced));
            }
            if !line.is_charged {
                charges.extend(Self::free(line, ChargeKind::Uncharged, &line.quantity));
            }
            let listed: BigDecimal = charges.iter().map(|charge| &charge.list_cost).sum();
            if *cost != listed {
                charges.push(Self::new(line, ChargeKind::Rounding, cost - listed));
            }
        }
        charges.extend(Self::free(line, ChargeKind::Trial, &line.trial_quantity));
        charges
    }

    pub(super) fn of_adjustment(adjustment: CostAdjustment) -> Self {
        let CostAdjustment { billing_month, line, amount, .. } = adjustment;
        Self { billing_month, ..Self::new(&Arc::new(line), ChargeKind::Correction, amount) }
    }
}
