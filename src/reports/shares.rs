//! Shares an amount in proportion to weights, without a rest: the method of the largest remainder.

use std::ops::{Add, Div, Mul, Rem, Sub};

use bigdecimal::{
    BigDecimal, One, ToPrimitive, Zero,
    num_bigint::{BigInt, BigUint, Sign},
};

use crate::model::CompactSum;

/// Shares of a cost, in units of its last decimal place.
#[derive(Debug)]
pub(super) struct CostShares {
    units: Units,
    scale: i64,
}

#[derive(Debug)]
enum Units {
    /// Where all that is computed on the way has at most 128 bits, which is much faster.
    Small(Vec<u128>),
    Large(Vec<BigUint>),
}

/// Shares an amount of whole units in proportion to weights. Each gets the whole units of its proportion; what is left then is less
/// than a unit for each, and goes, unit by unit, to the largest remainders, of equal ones to the first. So the shares add up to
/// the amount, whatever it is, and who has no weight gets nothing. `None`: there is an amount, and no weight.
///
/// The product of the amount and the sum of the weights must be a number of this type.
pub(super) fn shares<N>(amount: &N, weights: &[N]) -> Option<Vec<N>>
where
    N: Clone + Ord + Zero + One + ToPrimitive,
    for<'a> &'a N: Add<&'a N, Output = N> + Sub<&'a N, Output = N>,
    for<'a> &'a N: Mul<&'a N, Output = N> + Div<&'a N, Output = N> + Rem<&'a N, Output = N>,
{
    let sum = weights.iter().fold(N::zero(), |sum, weight| &sum + weight);
    if sum.is_zero() {
        return amount.is_zero().then(|| vec![N::zero(); weights.len()]);
    }
    let mut left = amount.clone();
    let mut remainders = Vec::new();
    let mut shares = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = amount * weight;
        let (share, remainder) = (&product / &sum, &product % &sum);
        left = &left - &share;
        if !remainder.is_zero() {
            remainders.push((remainder, index));
        }
        shares.push(share);
    }
    // The remainders add up to what is left, and each is less than a unit: so there are more of them.
    let left = left.to_usize()?;
    if let Some(last) = left.checked_sub(1) {
        let by_remainder = |a: &(N, usize), b: &(N, usize)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
        remainders.select_nth_unstable_by(last, by_remainder);
        for (_, index) in &remainders[..left] {
            shares[*index] = &shares[*index] + &N::one();
        }
    }
    Some(shares)
}

/// Shares a cost, which is not negative, in proportion to quantities. `None`: there is a cost, and no quantity.
pub(super) fn share_cost(cost: &BigDecimal, quantities: &[CompactSum]) -> Option<CostShares> {
    let (units, scale) = cost.as_bigint_and_exponent();
    if units.sign() == Sign::Minus {
        return None;
    }
    let amount = units.magnitude();
    let places = quantities.iter().map(CompactSum::scale).max().unwrap_or(0);
    let units = match small(amount, quantities, places) {
        Some((amount, weights)) => Units::Small(shares(&amount, &weights)?),
        None => {
            let weights: Vec<BigUint> = quantities.iter().map(|quantity| quantity.big_units(places)).collect();
            Units::Large(shares(amount, &weights)?)
        }
    };
    Some(CostShares { units, scale })
}

/// Splits an amount, which is not negative, in proportion to weights. Parts have the decimal places of the amount and of the weights,
/// and at least so many; where `places` is 0, those of the amount alone. `None`: there is an amount, and no weight.
pub(super) fn split(amount: &BigDecimal, weights: &[BigDecimal], places: i64) -> Option<Vec<BigDecimal>> {
    let of_weights = weights.iter().map(BigDecimal::fractional_digit_count).max().unwrap_or(0);
    let of_amount = amount.fractional_digit_count();
    let places = if places == 0 { of_amount } else { places.max(of_amount).max(of_weights) };
    let units = |number: &BigDecimal, places| number.with_scale(places).into_bigint_and_exponent().0.to_biguint();
    let weights: Option<Vec<BigUint>> = weights.iter().map(|weight| units(weight, of_weights)).collect();
    let parts = shares(&units(amount, places)?, &weights?)?;
    Some(parts.into_iter().map(|part| BigDecimal::new(part.into(), places)).collect())
}

/// Amount and weights, where 128 bits hold their products.
fn small(amount: &BigUint, quantities: &[CompactSum], places: i64) -> Option<(u128, Vec<u128>)> {
    let weights = quantities.iter().map(|quantity| quantity.units(places)).collect::<Option<Vec<u128>>>()?;
    let sum = weights.iter().try_fold(0_u128, |sum, &weight| sum.checked_add(weight))?;
    let amount = amount.to_u128()?;
    amount.checked_mul(sum)?;
    Some((amount, weights))
}

// === impl CostShares ===

impl CostShares {
    /// A share, with the decimal places of the cost.
    pub(super) fn get(&self, index: usize) -> Option<BigDecimal> {
        let units = match &self.units {
            Units::Small(units) => BigInt::from(*units.get(index)?),
            Units::Large(units) => BigInt::from(units.get(index)?.clone()),
        };
        Some(BigDecimal::new(units, self.scale))
    }
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use proptest::prelude::*;

    use super::*;
    use crate::model::Decimal;

    fn rational(number: u128) -> BigRational {
        BigRational::from_integer(BigInt::from(number))
    }

    /// The slow and obvious way, in exact fractions: the whole part of each proportion, and then a unit for the one that lacks
    /// most, again and again.
    fn reference(amount: u128, weights: &[u128]) -> Option<Vec<BigInt>> {
        let sum: BigRational = weights.iter().map(|&weight| rational(weight)).sum();
        if sum == rational(0) {
            return (amount == 0).then(|| vec![BigInt::from(0); weights.len()]);
        }
        let exact: Vec<BigRational> =
            weights.iter().map(|&weight| rational(amount) * rational(weight) / &sum).collect();
        let mut shares: Vec<BigRational> = exact.iter().map(BigRational::floor).collect();
        while shares.iter().sum::<BigRational>() < rational(amount) {
            let mut most = 0;
            for index in 1..shares.len() {
                if &exact[index] - &shares[index] > &exact[most] - &shares[most] {
                    most = index;
                }
            }
            shares[most] += rational(1);
        }
        Some(shares.into_iter().map(|share| share.to_integer()).collect())
    }

    #[test]
    fn what_is_left_goes_to_the_largest_remainders_and_of_equal_ones_to_the_first() {
        for (amount, weights, expected) in [
            (100, &[1, 1, 1][..], &[34, 33, 33][..]),
            (2, &[1, 1, 1], &[1, 1, 0]),
            (1, &[1, 1, 2], &[0, 0, 1]),
            (10, &[0, 15, 85], &[0, 2, 8]),
            (10, &[15, 0, 85], &[2, 0, 8]),
            (10, &[25, 75], &[3, 7]),
            (10, &[75, 25], &[8, 2]),
            (0, &[3, 4], &[0, 0]),
            (0, &[0, 0], &[0, 0]),
            (0, &[], &[]),
            (7, &[5], &[7]),
        ] {
            assert_eq!(shares::<u128>(&amount, weights).as_deref(), Some(expected), "{amount} by {weights:?}");
        }
        assert_eq!(shares::<u128>(&1, &[0, 0]), None);
        assert_eq!(shares::<u128>(&1, &[]), None);
    }

    #[test]
    fn a_cost_keeps_its_decimal_places() {
        let sum = |text: &str| {
            let mut sum = CompactSum::default();
            sum.add(text.parse().expect(text));
            sum
        };
        let quantities = ["31.25", "398.5", "640.5"].map(sum);
        for (cost, expected) in [("84.97", ["2.48", "31.64", "50.85"]), ("0.00", ["0.00"; 3]), ("3", ["0", "1", "2"])] {
            let shares = share_cost(&cost.parse().expect(cost), &quantities).expect("shares");
            let found: Vec<_> = (0..3).filter_map(|n| shares.get(n)).map(|share| share.to_plain_string()).collect();
            assert_eq!(found, expected);
            assert_eq!(shares.get(3), None);
        }
        assert!(share_cost(&"-1".parse().expect("a number"), &quantities).is_none());
        assert!(share_cost(&"1".parse().expect("a number"), &[sum("0")]).is_none());
    }

    fn weights() -> impl Strategy<Value = Vec<u128>> {
        let weight = prop_oneof![2 => 0..5_u128, 3 => 0..1_000_000_u128, 1 => 0..10_u128.pow(30)];
        prop::collection::vec(weight, 0..30)
    }

    proptest! {
        /// Numbers of 128 bits and of any size against exact fractions.
        #[test]
        fn shares_are_those_of_exact_fractions(
            amount in prop_oneof![0..40_u128, 0..1_000_000_u128], weights in weights(),
        ) {
            let expected = reference(amount, &weights);
            let big: Vec<BigUint> = weights.iter().map(|&weight| BigUint::from(weight)).collect();
            let found = shares(&BigUint::from(amount), &big);
            let found = found.map(|found| found.into_iter().map(BigInt::from).collect::<Vec<_>>());
            prop_assert_eq!(&found, &expected);
            let small = shares(&amount, &weights);
            prop_assert_eq!(small.map(|found| found.into_iter().map(BigInt::from).collect::<Vec<_>>()), expected);
        }

        /// Decimals of every size and scale, which take either way.
        #[test]
        fn shares_of_a_cost_add_up_and_are_in_proportion(
            units in prop_oneof![0..1_000_000_u128, 0..10_u128.pow(38)], digits in 0..=3_i64,
            quantities in prop::collection::vec(prop_oneof![
                (0..100_u128, 0..=2_u8), (0..10_u128.pow(20), 0..=9_u8), (0..10_u128.pow(38), 0..=38_u8),
            ], 1..12),
        ) {
            let sums: Vec<CompactSum> = quantities.iter().map(|&(coefficient, scale)| {
                let mut sum = CompactSum::default();
                sum.add(Decimal::new(coefficient, scale).expect("in range"));
                sum
            }).collect();
            let exact: Vec<BigRational> = quantities.iter().map(|&(coefficient, scale)| {
                BigRational::new(coefficient.into(), BigInt::from(10).pow(u32::from(scale)))
            }).collect();
            let whole: BigRational = exact.iter().sum();
            let cost = BigDecimal::new(units.into(), digits);
            let Some(shares) = share_cost(&cost, &sums) else {
                prop_assert!(whole == rational(0) && units > 0);
                return Ok(());
            };
            let found: Vec<BigDecimal> = (0..sums.len()).filter_map(|n| shares.get(n)).collect();
            prop_assert_eq!(found.len(), sums.len());
            prop_assert_eq!(found.iter().sum::<BigDecimal>(), cost);
            for (share, quantity) in found.iter().zip(&exact) {
                let (share, scale) = share.as_bigint_and_exponent();
                prop_assert_eq!(scale, digits);
                let proportion = if whole == rational(0) { rational(0) } else { rational(units) * quantity / &whole };
                let difference = BigRational::from_integer(share) - proportion;
                prop_assert!(difference < rational(1) && difference > -rational(1));
            }
        }
    }
}
