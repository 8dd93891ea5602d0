//! Rating: computes the cost of a quantity. All arithmetic is exact except for one rounding at the end.

use bigdecimal::{BigDecimal, Zero as _};

use crate::model::{Currency, PriceTier, Pricing, PricingModel, RoundingMode};

#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    /// The tiers that the quantity reaches, in order.
    pub tiers: Vec<RatedTier>,
    /// The sum of the tiers' amounts, rounded once to the currency's minor unit.
    pub cost: BigDecimal,
    /// How it was rounded; `None`: no price was used.
    pub rounding: Option<RoundingMode>,
}

/// The part of a quantity that falls into a tier.
#[derive(Clone, Debug, PartialEq)]
pub struct RatedTier {
    /// Where the tier starts, exclusive.
    pub from: BigDecimal,
    /// Where it ends, inclusive; `None`: the last tier.
    pub to: Option<BigDecimal>,
    pub quantity: BigDecimal,
    pub unit_price: BigDecimal,
    /// Quantity times price, exact.
    pub amount: BigDecimal,
}

impl Rating {
    /// The rating of what costs nothing, without a price.
    pub fn nothing(currency: Currency) -> Self {
        Self { tiers: Vec::new(), cost: currency.zero(), rounding: None }
    }

    /// The sum of the tiers' amounts, before it is rounded.
    pub fn exact_cost(&self) -> BigDecimal {
        self.tiers.iter().map(|tier| &tier.amount).sum()
    }
}

/// Rates a quantity, which must not be negative.
pub fn rate(quantity: &BigDecimal, pricing: &Pricing, currency: Currency) -> Rating {
    let tiers = match &pricing.model {
        PricingModel::Graduated(tiers) => graduated(quantity, tiers),
    };
    let sum: BigDecimal = tiers.iter().map(|tier| &tier.amount).sum();
    Rating { cost: currency.round(&sum, pricing.rounding), tiers, rounding: Some(pricing.rounding) }
}

/// The parts of a quantity in each tier. The tiers are in increasing order, and the last has no end.
fn graduated(quantity: &BigDecimal, tiers: &[PriceTier]) -> Vec<RatedTier> {
    let mut rated = Vec::new();
    let mut from = BigDecimal::zero();
    for tier in tiers {
        if *quantity <= from {
            break;
        }
        let to = tier.up_to.map(crate::model::Decimal::to_big);
        let reached = to.as_ref().map_or(quantity, |to| quantity.min(to));
        let part = reached - &from;
        let unit_price = tier.unit_price.to_big();
        let amount = &part * &unit_price;
        let next = to.clone();
        rated.push(RatedTier { from, to, quantity: part, unit_price, amount });
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    rated
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use proptest::prelude::*;

    use super::*;
    use crate::model::Decimal;

    fn decimal(text: &str) -> BigDecimal {
        text.parse().expect(text)
    }

    fn tier(up_to: Option<&str>, unit_price: &str) -> PriceTier {
        PriceTier {
            up_to: up_to.map(|text| text.parse().expect(text)),
            unit_price: unit_price.parse().expect(unit_price),
        }
    }

    /// The price list of the design: 50 free, then 0.085 up to 1000, then 0.06.
    fn bandwidth() -> Pricing {
        graduated_by(
            vec![tier(Some("50"), "0"), tier(Some("1000"), "0.085"), tier(None, "0.06")],
            RoundingMode::default(),
        )
    }

    fn graduated_by(tiers: Vec<PriceTier>, rounding: RoundingMode) -> Pricing {
        Pricing { model: PricingModel::Graduated(tiers), rounding }
    }

    #[test]
    fn a_tier_includes_its_end_and_not_its_start() {
        let usd: Currency = "USD".parse().expect("USD");
        for (quantity, cost, reached) in [
            ("0", "0.00", 0),
            ("0.000001", "0.00", 1),
            ("50", "0.00", 1),
            ("50.000001", "0.00", 2),
            ("50.06", "0.01", 2),
            ("1000", "80.75", 2),
            ("1000.000001", "80.75", 3),
            ("1234.5", "94.82", 3),
        ] {
            let rating = rate(&decimal(quantity), &bandwidth(), usd);
            assert_eq!(rating.cost.to_plain_string(), cost, "{quantity}");
            assert_eq!(rating.tiers.len(), reached, "{quantity}");
        }
    }

    #[test]
    fn tiers_show_the_slices() {
        let rating = rate(&decimal("1234.5"), &bandwidth(), "USD".parse().expect("USD"));
        let tier = |from: &str, to: Option<&str>, quantity: &str, unit_price: &str, amount: &str| RatedTier {
            from: decimal(from),
            to: to.map(decimal),
            quantity: decimal(quantity),
            unit_price: decimal(unit_price),
            amount: decimal(amount),
        };
        assert_eq!(
            rating.tiers,
            [
                tier("0", Some("50"), "50", "0", "0"),
                tier("50", Some("1000"), "950", "0.085", "80.75"),
                tier("1000", None, "234.5", "0.06", "14.07"),
            ]
        );
    }

    fn rational(coefficient: u128, scale: u8) -> BigRational {
        BigRational::new(BigInt::from(coefficient), BigInt::from(10).pow(u32::from(scale)))
    }

    /// The slow and obvious way: each unit's slice in exact fractions, and one rounding.
    fn reference(
        quantity: &BigRational,
        tiers: &[(Option<BigRational>, BigRational)],
        digits: u32,
        rounding: RoundingMode,
    ) -> BigInt {
        let zero = BigRational::from_integer(BigInt::from(0));
        let mut sum = zero.clone();
        for (index, (end, price)) in tiers.iter().enumerate() {
            let start = if index == 0 { zero.clone() } else { tiers[index - 1].0.clone().expect("an end") };
            let capped = match end {
                Some(end) if quantity > end => end.clone(),
                _ => quantity.clone(),
            };
            let slice = if capped > start { capped - start } else { zero.clone() };
            sum += slice * price;
        }
        let minor_units = sum * BigRational::from_integer(BigInt::from(10).pow(digits));
        let half = BigRational::new(BigInt::from(1), BigInt::from(2));
        let rounded = (&minor_units + &half).floor().to_integer();
        let is_half = minor_units.fract() == half;
        let is_odd = &rounded % BigInt::from(2) != BigInt::from(0);
        if rounding == RoundingMode::HalfEven && is_half && is_odd { rounded - 1 } else { rounded }
    }

    proptest! {
        #[test]
        fn agrees_with_exact_fractions(
            quantity in (0..10_u128.pow(12), 0..10_u8),
            steps in prop::collection::vec((1..10_u128.pow(9), 0..10_u128.pow(8), 0..9_u8), 1..6),
            scale in 0..7_u8,
            on_edge in any::<Option<prop::sample::Index>>(),
            currency in prop::sample::select(vec![("JPY", 0_u32), ("USD", 2), ("KWD", 3)]),
            rounding in prop::sample::select(vec![RoundingMode::HalfAwayFromZero, RoundingMode::HalfEven]),
        ) {
            let mut end = 0;
            let ends: Vec<u128> = steps.iter().map(|&(step, ..)| { end += step; end }).collect();
            let last = steps.len() - 1;
            let quantity = match on_edge {
                Some(edge) if last > 0 => (ends[edge.index(last)], scale),
                _ => quantity,
            };
            let tiers: Vec<PriceTier> = steps.iter().enumerate().map(|(index, &(_, price, price_scale))| PriceTier {
                up_to: (index < last).then(|| Decimal::new(ends[index], scale).expect("in range")),
                unit_price: Decimal::new(price, price_scale).expect("in range"),
            }).collect();
            let exact: Vec<_> = steps.iter().enumerate().map(|(index, &(_, price, price_scale))| {
                ((index < last).then(|| rational(ends[index], scale)), rational(price, price_scale))
            }).collect();
            let amount = Decimal::new(quantity.0, quantity.1).expect("in range").to_big();
            let pricing = graduated_by(tiers, rounding);
            let rating = rate(&amount, &pricing, currency.0.parse().expect("a currency"));

            let expected = reference(&rational(quantity.0, quantity.1), &exact, currency.1, rounding);
            prop_assert_eq!(rating.rounding, Some(rounding));
            let (minor_units, scale) = rating.cost.as_bigint_and_exponent();
            prop_assert_eq!(scale, i64::from(currency.1));
            prop_assert_eq!(minor_units, expected);
            let slices: BigDecimal = rating.tiers.iter().map(|tier| tier.quantity.clone()).sum();
            prop_assert_eq!(slices, amount);
        }
    }
}
