//! The charges of assets. Each has its share of the line's cost, and its part of each tier of the line, in proportion to its quantity:
//! so no asset is cheaper because it comes first.

use std::sync::Arc;

use bigdecimal::{BigDecimal, Zero as _};

use super::charge::{ChargeKind, FocusCharge, PricedQuantity};
use crate::{
    reports::{CostLine, CostShare, shares::split},
    store::StoreError,
};

/// The decimal places of the parts of tiers, where quantities have fewer: parts of small quantities are exact enough to cost
/// what is billed for them, to a fraction of a minor unit.
pub(super) const PART_PLACES: u8 = 9;

/// What is left of the tiers of a line for the assets that are still to come.
#[derive(Default)]
pub(super) struct TierRest {
    line: Option<Arc<CostLine>>,
    /// Of each tier.
    quantities: Vec<BigDecimal>,
}

// === impl TierRest ===

impl TierRest {
    /// The charges of an asset. Assets of a line follow each other.
    pub(super) fn charges(&mut self, share: CostShare) -> Result<Vec<FocusCharge>, StoreError> {
        let CostShare { line, asset, quantity, trial_quantity, cost, .. } = share;
        if !self.line.as_ref().is_some_and(|current| Arc::ptr_eq(current, &line)) {
            let quantities = line.tiers.iter().map(|tier| tier.quantity.clone()).collect();
            *self = Self { line: Some(Arc::clone(&line)), quantities };
        }
        let mut charges = match &cost {
            Some(_) if !line.is_charged => {
                FocusCharge::free(&line, ChargeKind::Uncharged, &quantity).into_iter().collect()
            }
            Some(cost) => self.priced(&line, &quantity, cost)?,
            None => Vec::new(),
        };
        charges.extend(FocusCharge::free(&line, ChargeKind::Trial, &trial_quantity));
        let asset = asset.map(Arc::new);
        charges.iter_mut().for_each(|charge| charge.asset.clone_from(&asset));
        Ok(charges)
    }

    /// Takes the asset's part of each tier. The last asset gets all that is left.
    fn priced(
        &mut self,
        line: &Arc<CostLine>,
        quantity: &BigDecimal,
        cost: &BigDecimal,
    ) -> Result<Vec<FocusCharge>, StoreError> {
        if quantity.is_zero() {
            return if cost.is_zero() { Ok(Vec::new()) } else { Err(StoreError::corrupt("a cost without usage")) };
        }
        let too_much = || StoreError::corrupt("assets of a line have more usage than the line");
        let parts = split(quantity, &self.quantities, PART_PLACES.into()).ok_or_else(too_much)?;
        let mut charges = Vec::with_capacity(parts.len());
        for ((index, tier), (part, rest)) in
            line.tiers.iter().enumerate().zip(parts.into_iter().zip(&mut self.quantities))
        {
            *rest -= &part;
            if *rest < BigDecimal::zero() {
                return Err(too_much());
            }
            if !part.is_zero() {
                let priced = PricedQuantity { quantity: part, unit_price: tier.unit_price.clone() };
                charges.push(FocusCharge::of_tier(line, index, priced));
            }
        }
        // Each part costs what the list says, but for the rounding of the share.
        let mut weights: Vec<BigDecimal> = charges.iter().map(|charge| charge.list_cost.clone()).collect();
        if weights.iter().all(BigDecimal::is_zero) {
            let quantities = charges.iter().filter_map(|charge| charge.priced.as_ref());
            weights = quantities.map(|priced| priced.quantity.clone()).collect();
        }
        let costs = split(cost, &weights, 0).ok_or_else(too_much)?;
        charges.iter_mut().zip(costs).for_each(|(charge, cost)| charge.billed_cost = cost);
        Ok(charges)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{
            Asset, AssetType, BillingRegion, Currency, Decimal, Meter, MeterId, PriceTier, Pricing, PricingModel,
            RoundingMode, TenantId,
        },
        reports::{CostLine, RatedTier, rate, shares::split},
    };

    fn line(quantity: &BigDecimal, tiers: Vec<PriceTier>) -> Arc<CostLine> {
        let usd: Currency = "USD".parse().expect("a currency");
        let pricing = Pricing { model: PricingModel::Graduated(tiers), rounding: RoundingMode::default() };
        let rating = rate(quantity, &pricing, usd);
        let meter = Meter { id: MeterId::from_uuid(uuid::Uuid::nil()), name: "hours".to_owned(), unit: "h".to_owned() };
        Arc::new(CostLine {
            month: "2022-02".parse().expect("a month"),
            tenant_id: TenantId::from_uuid(uuid::Uuid::nil()),
            tenant_name: String::new(),
            plan: String::new(),
            meter: Arc::new(meter),
            billing_region: BillingRegion::Eu,
            quantity: quantity.clone(),
            trial_quantity: BigDecimal::zero(),
            is_charged: true,
            tiers: rating.tiers,
            cost: Some(rating.cost),
            rounding: rating.rounding,
            record_count: 1,
        })
    }

    fn tiers() -> impl Strategy<Value = Vec<PriceTier>> {
        prop::collection::btree_map(1..2_000_u128, 0..1_000_u128, 0..4).prop_flat_map(|ends| {
            (Just(ends), 0..1_000_u128).prop_map(|(ends, last)| {
                let price = |units| Decimal::new(units, 4).expect("in range");
                let mut tiers: Vec<PriceTier> = ends
                    .into_iter()
                    .map(|(end, units)| PriceTier { up_to: Decimal::new(end, 0), unit_price: price(units) })
                    .collect();
                tiers.push(PriceTier { up_to: None, unit_price: price(last) });
                tiers
            })
        })
    }

    proptest! {
        /// Whatever the tiers are: assets have their quantities and shares, tiers are used up, and each asset has as much of
        /// each tier as its quantity is of the line's.
        #[test]
        fn assets_have_their_part_of_each_tier(
            tiers in tiers(), quantities in prop::collection::vec((0..1_000_000_u64, 0..=6_i64), 1..12),
        ) {
            let quantities: Vec<BigDecimal> =
                quantities.iter().map(|&(units, places)| BigDecimal::new(units.into(), places)).collect();
            let sum: BigDecimal = quantities.iter().sum();
            let line = line(&sum, tiers);
            let shares = split(line.cost.as_ref().expect("a cost"), &quantities, 0);
            let shares = shares.unwrap_or_else(|| vec![BigDecimal::zero(); quantities.len()]);
            let mut rest = TierRest::default();
            let mut used = vec![BigDecimal::zero(); line.tiers.len()];
            for (index, (quantity, cost)) in quantities.iter().zip(&shares).enumerate() {
                let charges = rest.charges(CostShare {
                    line: Arc::clone(&line),
                    asset_type: Some(AssetType::User),
                    asset: Some(Asset { asset_type: AssetType::User, id: index.to_string(), name: String::new() }),
                    usage_day: None,
                    platform: None,
                    quantity: quantity.clone(),
                    trial_quantity: BigDecimal::zero(),
                    cost: Some(cost.clone()),
                    record_count: 1,
                }).expect("charges");
                let mut found = (BigDecimal::zero(), BigDecimal::zero());
                for charge in &charges {
                    let priced = charge.priced.as_ref().expect("a price");
                    let ChargeKind::Tier(tier) = charge.kind else { panic!("{charge:?}") };
                    prop_assert!(priced.quantity > BigDecimal::zero());
                    prop_assert_eq!(&charge.list_cost, &(&priced.quantity * &priced.unit_price));
                    prop_assert_eq!(charge.asset.as_ref().map(|asset| asset.id.clone()), Some(index.to_string()));
                    used[tier] += &priced.quantity;
                    found.0 += &priced.quantity;
                    found.1 += &charge.billed_cost;
                    // Twelve assets before may each have taken a unit more, or less.
                    let RatedTier { quantity: of_tier, .. } = &line.tiers[tier];
                    let difference = (&priced.quantity * &sum - quantity * of_tier).abs();
                    prop_assert!(difference <= sum.clone() * BigDecimal::new(13.into(), PART_PLACES.into()), "{}", difference);
                }
                prop_assert_eq!(&found, &(quantity.clone(), cost.clone()));
            }
            let expected: Vec<BigDecimal> = line.tiers.iter().map(|tier| tier.quantity.clone()).collect();
            prop_assert_eq!(used, expected);
        }
    }
}
