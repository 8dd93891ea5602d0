//! Sums of which there are many at once.

use bigdecimal::{
    BigDecimal,
    num_bigint::{BigInt, BigUint},
};

use super::Decimal;

/// An exact sum of [`Decimal`]s, without a limit, in 24 bytes as long as it has no more digits than 128 bits hold.
#[derive(Clone, Debug)]
pub struct CompactSum(Sum);

#[derive(Clone, Debug)]
enum Sum {
    /// The digits in two words, which need no alignment of 16 bytes, and the number of decimal places.
    Small {
        high: u64,
        low: u64,
        scale: u8,
    },
    Large(Box<BigDecimal>),
}

const _: () = assert!(size_of::<CompactSum>() == 24);

impl Default for CompactSum {
    fn default() -> Self {
        Self::small(0, 0)
    }
}

// === impl CompactSum ===

impl CompactSum {
    fn small(digits: u128, scale: u8) -> Self {
        // The upper and the lower half.
        let (high, low) = ((digits >> 64) as u64, digits as u64);
        Self(Sum::Small { high, low, scale })
    }

    /// The digits without the point and the number of decimal places, where 128 bits hold them.
    fn parts(&self) -> Option<(u128, u8)> {
        match self.0 {
            Sum::Small { high, low, scale } => Some((u128::from(high) << 64 | u128::from(low), scale)),
            Sum::Large(_) => None,
        }
    }

    pub fn add(&mut self, amount: Decimal) {
        self.add_parts(amount.coefficient(), amount.scale());
    }

    pub fn add_sum(&mut self, other: &Self) {
        match other.parts() {
            Some((digits, scale)) => self.add_parts(digits, scale),
            None => self.0 = Sum::Large(Box::new(self.total() + other.total())),
        }
    }

    #[inline]
    fn add_parts(&mut self, digits: u128, scale: u8) {
        let sum = self.parts().and_then(|(sum, sum_scale)| {
            if sum_scale == scale {
                return Some((sum.checked_add(digits)?, scale));
            }
            let common = sum_scale.max(scale);
            Some((scaled(sum, sum_scale, common)?.checked_add(scaled(digits, scale, common)?)?, common))
        });
        *self = match sum {
            Some((sum, scale)) => Self::small(sum, scale),
            None => Self(Sum::Large(Box::new(self.total() + Self::small(digits, scale).total()))),
        };
    }

    pub fn is_zero(&self) -> bool {
        match self.parts() {
            Some((digits, _)) => digits == 0,
            // It has more digits than fit.
            None => false,
        }
    }

    /// How many decimal places it has.
    pub fn scale(&self) -> i64 {
        match &self.0 {
            Sum::Small { scale, .. } => i64::from(*scale),
            Sum::Large(sum) => sum.as_bigint_and_exponent().1,
        }
    }

    /// The sum in units of a decimal place at or behind its last; `None` where 128 bits do not hold it.
    pub fn units(&self, scale: i64) -> Option<u128> {
        let (digits, own) = self.parts()?;
        scaled(digits, own, u8::try_from(scale).ok()?)
    }

    /// The same, of any size.
    pub fn big_units(&self, scale: i64) -> BigUint {
        let (units, _) = self.total().with_scale(scale).into_bigint_and_exponent();
        // Sums of decimals are not negative.
        units.magnitude().clone()
    }

    /// The exact sum.
    pub fn total(&self) -> BigDecimal {
        match &self.0 {
            Sum::Small { scale, .. } => {
                let digits = self.parts().map_or(0, |(digits, _)| digits);
                BigDecimal::new(BigInt::from(digits), i64::from(*scale))
            }
            Sum::Large(sum) => (**sum).clone(),
        }
    }
}

/// Digits at another number of places.
fn scaled(digits: u128, from: u8, to: u8) -> Option<u128> {
    if digits == 0 {
        return Some(0);
    }
    digits.checked_mul(10_u128.checked_pow(u32::from(to.checked_sub(from)?))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::DecimalSum;

    fn decimal() -> impl Strategy<Value = Decimal> {
        let few = (0..1_000_000_u128, 0..=6_u8);
        let many = (0..10_u128.pow(38), 0..=38_u8);
        prop_oneof![3 => few, 1 => many]
            .prop_map(|(coefficient, scale)| Decimal::new(coefficient, scale).expect("in range"))
    }

    proptest! {
        /// Against the sum that knows no limits from the beginning.
        #[test]
        fn sums_are_exact(parts in prop::collection::vec(prop::collection::vec(decimal(), 0..12), 0..6)) {
            let mut whole = CompactSum::default();
            let mut expected = DecimalSum::default();
            for part in parts {
                let mut sum = CompactSum::default();
                part.iter().for_each(|&amount| { sum.add(amount); expected.add(amount); });
                whole.add_sum(&sum);
                prop_assert_eq!(sum.is_zero(), sum.total() == BigDecimal::default());
            }
            prop_assert_eq!(whole.total(), expected.total());
            for more in [0, 3, 40] {
                let scale = whole.scale() + more;
                let units = whole.big_units(scale);
                prop_assert_eq!(BigDecimal::new(BigInt::from(units.clone()), scale), expected.total());
                match whole.units(scale) {
                    Some(found) => prop_assert_eq!(BigUint::from(found), units),
                    None => prop_assert!(units.bits() > 128 || scale > 38),
                }
            }
        }
    }
}
