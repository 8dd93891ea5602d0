//! What a difference of two costs is made of.

use std::ops::AddAssign;

use bigdecimal::BigDecimal;

/// The parts of a difference. They add up to it, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Of the quantity, by the base's prices.
    pub usage: BigDecimal,
    /// Of the prices, for the target's quantity.
    pub price: BigDecimal,
    /// What rounding the two costs leaves.
    pub rounding: BigDecimal,
}

/// What quantities cost before rounding. What no price covers costs nothing here.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactCosts {
    /// The base's quantity by the base's prices.
    pub(super) base: BigDecimal,
    /// The target's quantity by the base's prices.
    pub(super) target_by_base: BigDecimal,
    /// The target's quantity by the target's prices.
    pub(super) target: BigDecimal,
}

// === impl Effects ===

impl Effects {
    /// `base` and `target`: what the bills have, rounded.
    pub(super) fn new(base: &BigDecimal, target: &BigDecimal, exact: &ExactCosts) -> Self {
        let usage = &exact.target_by_base - &exact.base;
        let price = &exact.target - &exact.target_by_base;
        let rounding = target - base - &usage - &price;
        Self { usage, price, rounding }
    }

    /// Whether nothing of it has an effect.
    pub fn are_none(&self) -> bool {
        let zero = BigDecimal::default();
        [&self.usage, &self.price, &self.rounding].into_iter().all(|effect| *effect == zero)
    }

    /// The difference that they are of.
    pub fn sum(&self) -> BigDecimal {
        &self.usage + &self.price + &self.rounding
    }
}

impl AddAssign<&Self> for Effects {
    fn add_assign(&mut self, other: &Self) {
        self.usage += &other.usage;
        self.price += &other.price;
        self.rounding += &other.rounding;
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{Currency, Decimal, PriceTier, Pricing, PricingModel, RoundingMode},
        reports::rating::rate,
    };

    /// The widths and the prices of tiers, in thousandths and in hundred-thousandths, and whether to round to even.
    type Prices = (Vec<(u32, u32)>, bool);

    fn pricing((tiers, half_even): &Prices) -> Pricing {
        let mut end = 0;
        let last = tiers.len() - 1;
        let tiers = tiers.iter().enumerate().map(|(index, &(width, price))| {
            end += u128::from(width);
            PriceTier {
                up_to: (index < last).then(|| Decimal::new(end, 3).expect("in range")),
                unit_price: Decimal::new(price.into(), 5).expect("in range"),
            }
        });
        let rounding = if *half_even { RoundingMode::HalfEven } else { RoundingMode::HalfAwayFromZero };
        Pricing { model: PricingModel::Graduated(tiers.collect()), rounding }
    }

    fn fraction(number: i64, power: u32) -> BigRational {
        BigRational::new(number.into(), BigInt::from(10).pow(power))
    }

    /// Unit by unit of a thousandth would be too slow: tier by tier, from the top one down, in exact fractions.
    fn exact_cost(thousandths: u32, prices: Option<&Prices>) -> BigRational {
        let Some((tiers, _)) = prices else { return fraction(0, 0) };
        let mut left = i64::from(thousandths);
        let mut cost = fraction(0, 0);
        for (index, &(width, price)) in tiers.iter().enumerate() {
            let part = if index + 1 == tiers.len() { left } else { left.min(width.into()) };
            cost += fraction(part, 3) * fraction(price.into(), 5);
            left -= part;
        }
        cost
    }

    fn rational(amount: &BigDecimal) -> BigRational {
        let (digits, scale) = amount.as_bigint_and_exponent();
        let power = BigRational::from_integer(BigInt::from(10).pow(scale.unsigned_abs().try_into().expect("a scale")));
        let digits = BigRational::from_integer(digits);
        if scale >= 0 { digits / power } else { digits * power }
    }

    fn prices() -> impl Strategy<Value = Option<Prices>> {
        let tiers = prop::collection::vec((1..100_000_u32, 0..200_000_u32), 1..5);
        prop::option::weighted(0.9, (tiers, any::<bool>()))
    }

    proptest! {
        #[test]
        fn effects_are_exact_and_add_up(
            quantities in [0..400_000_u32, 0..400_000_u32],
            same_quantity in prop::bool::weighted(0.2),
            prices in [prices(), prices()],
            same_price in prop::bool::weighted(0.2),
            (code, digits) in prop::sample::select(vec![("JPY", 0_u32), ("USD", 2), ("KWD", 3)]),
        ) {
            let [base_quantity, target_quantity] = if same_quantity { [quantities[0]; 2] } else { quantities };
            let [base_prices, target_prices] =
                if same_price { [prices[0].clone(), prices[0].clone()] } else { prices };
            let currency: Currency = code.parse().expect("a currency");
            let rated = |thousandths: u32, prices: &Option<Prices>| {
                let quantity = Decimal::new(thousandths.into(), 3).expect("in range").to_big();
                prices.as_ref().map(|prices| rate(&quantity, &pricing(prices), currency))
            };
            let exact = |thousandths: u32, prices: &Option<Prices>| {
                rated(thousandths, prices).map(|rating| rating.exact_cost()).unwrap_or_default()
            };
            let cost = |thousandths: u32, prices: &Option<Prices>| {
                rated(thousandths, prices).map(|rating| rating.cost).unwrap_or_default()
            };
            let (base, target) = (cost(base_quantity, &base_prices), cost(target_quantity, &target_prices));
            let effects = Effects::new(&base, &target, &ExactCosts {
                base: exact(base_quantity, &base_prices),
                target_by_base: exact(target_quantity, &base_prices),
                target: exact(target_quantity, &target_prices),
            });

            let before = exact_cost(base_quantity, base_prices.as_ref());
            let between = exact_cost(target_quantity, base_prices.as_ref());
            let after = exact_cost(target_quantity, target_prices.as_ref());
            prop_assert_eq!(rational(&effects.usage), &between - &before);
            prop_assert_eq!(rational(&effects.price), &after - &between);
            prop_assert_eq!(effects.sum(), &target - &base);
            // Each cost is within half a minor unit of what was rounded.
            let minor_unit = fraction(1, digits);
            let rounding = rational(&effects.rounding);
            prop_assert_eq!(&rounding, &(rational(&target) - rational(&base) - (after - before)));
            prop_assert!(-minor_unit.clone() <= rounding && rounding <= minor_unit);
            if same_quantity {
                prop_assert_eq!(effects.usage, BigDecimal::default());
            }
            if same_price {
                prop_assert_eq!(effects.price, BigDecimal::default());
            }
        }
    }

    #[test]
    fn sums_of_effects_are_effects_of_sums() {
        let amount = |text: &str| text.parse::<BigDecimal>().expect("an amount");
        let one = Effects { usage: amount("1.005"), price: amount("-0.5"), rounding: amount("0.005") };
        let mut sum = Effects::default();
        assert!(sum.are_none());
        sum += &one;
        sum += &Effects { usage: amount("-1.005"), price: amount("0.5"), rounding: amount("0.005") };
        assert_eq!(sum, Effects { usage: amount("0"), price: amount("0.0"), rounding: amount("0.01") });
        assert!(!sum.are_none());
        assert_eq!(sum.sum(), amount("0.01"));
        assert_eq!(one.sum(), amount("0.51"));
    }
}
