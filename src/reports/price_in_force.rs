//! Which of a meter's prices in a currency are in force in a month. The rule stands here alone: bills rate by it, and lists of
//! prices show it.

use crate::{
    model::{BillingRegion, Month},
    store::Price,
};

/// The price of a region in a month: one for the region takes precedence over one for all regions.
pub(super) fn effective_price<P: AsRef<Price>>(prices: &[P], region: BillingRegion, month: Month) -> Option<&P> {
    in_force(prices, Some(region), month).or_else(|| in_force(prices, None, month))
}

/// All that are in force in a month: that for all regions first, then those of regions.
pub(super) fn prices_in_force<P: AsRef<Price>>(prices: &[P], month: Month) -> impl Iterator<Item = &P> {
    let places = std::iter::once(None).chain(BillingRegion::ALL.iter().copied().map(Some));
    places.filter_map(move |place| in_force(prices, place, month))
}

/// The latest of those that are for this place: a region, or (`None`) all that have no price of their own.
fn in_force<P: AsRef<Price>>(prices: &[P], place: Option<BillingRegion>, month: Month) -> Option<&P> {
    let of_place = prices.iter().filter(|price| price.as_ref().billing_region == place);
    let begun = of_place.filter(|price| price.as_ref().effective_from <= month);
    begun.max_by_key(|price| price.as_ref().effective_from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{PriceTier, Pricing, PricingModel, RoundingMode},
        store::MeterKey,
    };

    fn price(place: Option<BillingRegion>, from: i32) -> Price {
        let tiers = vec![PriceTier { up_to: None, unit_price: "1".parse().expect("a price") }];
        let pricing = Pricing { model: PricingModel::Graduated(tiers), rounding: RoundingMode::default() };
        let effective_from = Month::new(2022, from).expect("a month");
        Price { meter: MeterKey::from_number(1), billing_region: place, effective_from, pricing }
    }

    fn place() -> impl Strategy<Value = Option<BillingRegion>> {
        prop::sample::select(vec![None, Some(BillingRegion::Af), Some(BillingRegion::Eu), Some(BillingRegion::Na)])
    }

    proptest! {
        /// Month by month: each price takes its place when it begins, and keeps it until the next one.
        #[test]
        fn prices_follow_each_other_at_their_places(
            prices in prop::collection::btree_set((place(), 1..=12), 0..12), month in 1..=12,
        ) {
            let listed: Vec<Price> = prices.iter().rev().map(|&(place, from)| price(place, from)).collect();
            let mut places: BTreeMap<Option<BillingRegion>, i32> = BTreeMap::new();
            for now in 1..=month {
                places.extend(prices.iter().filter(|(_, from)| *from == now).copied());
            }
            let shown = |price: &Price| (price.billing_region, price.effective_from.number().cast_signed());
            let asked = Month::new(2022, month).expect("a month");
            let found: Vec<_> = prices_in_force(&listed, asked).map(shown).collect();
            prop_assert_eq!(found, places.clone().into_iter().collect::<Vec<_>>());
            for &region in BillingRegion::ALL {
                let expected = [Some(region), None].into_iter().find_map(|place| Some((place, *places.get(&place)?)));
                prop_assert_eq!(effective_price(&listed, region, asked).map(shown), expected);
            }
        }
    }
}
