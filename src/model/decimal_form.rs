//! How many digits the decimals of a column need, so that each is carried exactly.

use bigdecimal::BigDecimal;

use super::Decimal;

/// How many digits some numbers have at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digits {
    /// In front of the point.
    whole: u8,
    /// Behind the point.
    places: u8,
}

/// The form of decimals that stand in one column: whole numbers of units of `10^-scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecimalForm {
    /// The number of decimal places; at most 38.
    pub scale: u8,
    /// Whether it has 76 digits instead of 38.
    pub is_wide: bool,
}

/// Meters measure with fewer places.
const QUANTITY_PLACES: u8 = 18;
/// The most that a currency has (ISO 4217).
const AMOUNT_PLACES: u8 = 4;
const NARROW: u8 = Decimal::MAX_DIGITS;
const WIDE: u8 = 2 * Decimal::MAX_DIGITS;
/// What units of a column that is not wide are below.
const LIMIT: i128 = 10_i128.pow(NARROW as u32);
/// Of ten, by their exponents.
static POWERS: [u128; Decimal::MAX_DIGITS as usize + 1] = powers();

const fn powers() -> [u128; Decimal::MAX_DIGITS as usize + 1] {
    let mut powers = [1; _];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
}

// === impl Digits ===

impl Digits {
    /// Of quantities that add up to these sums. None of them is negative, so none has more digits in front of the point than its
    /// sum, or more behind it.
    pub fn of_parts<'a>(sums: impl IntoIterator<Item = &'a BigDecimal>) -> Self {
        let Self { whole, places } = Self::default().and(sums);
        Self { whole: whole.min(Decimal::MAX_DIGITS), places }
    }

    pub fn of(number: &BigDecimal) -> Self {
        Self::default().and([number])
    }

    /// With these numbers, too.
    pub fn and<'a>(self, numbers: impl IntoIterator<Item = &'a BigDecimal>) -> Self {
        let Self { mut whole, mut places } = self;
        for number in numbers {
            let behind = number.as_bigint_and_exponent().1;
            let all = i64::try_from(number.digits()).unwrap_or(i64::MAX);
            let saturated = |count: i64| u8::try_from(count.max(0)).unwrap_or(u8::MAX);
            whole = whole.max(saturated(all.saturating_sub(behind)));
            places = places.max(saturated(behind));
        }
        Self { whole, places }
    }

    /// Of numbers with either.
    pub fn or(self, other: Self) -> Self {
        Self { whole: self.whole.max(other.whole), places: self.places.max(other.places) }
    }

    /// At least so many places.
    pub fn with_places(self, places: u8) -> Self {
        Self { places: self.places.max(places), ..self }
    }

    /// Of products of numbers with the one and the other.
    pub fn times(self, other: Self) -> Self {
        Self { whole: self.whole.saturating_add(other.whole), places: self.places.saturating_add(other.places) }
    }

    /// The form of a column of quantities: one that nearly all have, so that columns of several months can be put together. `None`: there
    /// is none with so many digits.
    pub fn quantity_form(self) -> Option<DecimalForm> {
        self.common_form(QUANTITY_PLACES)
    }

    /// The same for prices and amounts.
    pub fn amount_form(self) -> Option<DecimalForm> {
        self.common_form(AMOUNT_PLACES)
    }

    fn common_form(self, places: u8) -> Option<DecimalForm> {
        let narrow = self.form_with([places, self.places], NARROW);
        narrow.or_else(|| self.form_with([Decimal::MAX_DIGITS, self.places], WIDE))
    }

    fn form_with<const N: usize>(self, scales: [u8; N], precision: u8) -> Option<DecimalForm> {
        let fits = |scale: &u8| {
            (self.places..=Decimal::MAX_DIGITS).contains(scale) && scale.saturating_add(self.whole) <= precision
        };
        let scale = scales.into_iter().find(fits)?;
        Some(DecimalForm { scale, is_wide: precision == WIDE })
    }
}

// === impl DecimalForm ===

impl DecimalForm {
    /// Whether numbers with so many digits fit.
    pub fn has_room_for(self, digits: Digits) -> bool {
        digits.places <= self.scale && digits.whole.saturating_add(self.scale) <= self.precision()
    }

    /// How many digits the column has.
    pub fn precision(self) -> u8 {
        if self.is_wide { WIDE } else { NARROW }
    }

    /// What a decimal's digits are to be multiplied with; an error where they are to be divided, by so much. Both are
    /// powers of ten.
    fn factor(self, scale: u8) -> Result<u128, u128> {
        match self.scale.checked_sub(scale) {
            Some(more) => Ok(POWERS[usize::from(more)]),
            None => Err(POWERS[usize::from(scale - self.scale)]),
        }
    }

    /// The units of a decimal, in a column that is not wide; `None` where they do not fit, or where some digits would be lost.
    pub fn units(self, decimal: Decimal) -> Option<i128> {
        let (digits, factor) = self.wide_units(decimal)?;
        let units = i128::try_from(digits.checked_mul(factor)?).ok()?;
        (units < LIMIT).then_some(units)
    }

    /// The units of a decimal as two factors, for a wide column; `None` where some digits would be lost.
    pub fn wide_units(self, decimal: Decimal) -> Option<(u128, u128)> {
        match self.factor(decimal.scale()) {
            Ok(factor) => Some((decimal.coefficient(), factor)),
            Err(divisor) if decimal.coefficient().is_multiple_of(divisor) => Some((decimal.coefficient() / divisor, 1)),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bigdecimal::num_bigint::BigInt;
    use proptest::prelude::*;

    use super::*;
    use crate::model::DecimalSum;

    proptest! {
        #[test]
        fn every_decimal_fits_the_form_of_its_sum(
            parts in prop::collection::vec((0..10_u128.pow(38), 0..=38_u8, 1..=10_u128.pow(30)), 1..9),
        ) {
            let decimals: Vec<Decimal> =
                parts.iter().map(|&(digits, scale, less)| Decimal::new(digits / less, scale).expect("in range")).collect();
            let mut sum = DecimalSum::default();
            decimals.iter().for_each(|&decimal| sum.add(decimal));
            let digits = Digits::of_parts([&sum.total()]);
            for (form, decimal) in decimals.iter().flat_map(|decimal| {
                [digits.amount_form(), digits.quantity_form()].map(|form| (form.expect("a quantity has a form"), *decimal))
            }) {
                let expected = decimal.to_big() * BigDecimal::new(BigInt::from(10).pow(form.scale.into()), 0);
                let (digits, factor) = form.wide_units(decimal).expect("fits");
                prop_assert_eq!(BigDecimal::from(BigInt::from(digits) * BigInt::from(factor)), expected.clone());
                if !form.is_wide {
                    prop_assert_eq!(BigDecimal::from(form.units(decimal).expect("fits")), expected);
                }
            }
        }
    }

    #[test]
    fn what_would_lose_digits_does_not_fit() {
        let decimal = |text: &str| text.parse().expect("a decimal");
        let form = DecimalForm { scale: 2, is_wide: false };
        assert_eq!(form.units(decimal("1.5")), Some(150));
        assert_eq!(form.units(decimal("1.500")), Some(150));
        assert_eq!(form.units(decimal("1.501")), None);
        assert_eq!(form.wide_units(decimal("1.501")), None);
        let longest = "9".repeat(38);
        assert_eq!(form.units(decimal(&longest)), None, "the column has 36 digits in front of the point");
        assert_eq!(DecimalForm::default().units(decimal(&longest)), Some(10_i128.pow(38) - 1));
        assert_eq!(form.wide_units(decimal(&longest)), Some((10_u128.pow(38) - 1, 100)));
    }

    #[test]
    fn most_months_have_the_same_form() {
        let form = |numbers: &[&str]| {
            let sums: Vec<BigDecimal> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
            let digits = Digits::of_parts(&sums);
            [digits.amount_form(), digits.quantity_form()].map(|form| form.map(|form| (form.precision(), form.scale)))
        };
        let (longest, smallest) = ("9".repeat(38), format!("0.{}1", "0".repeat(37)));
        assert_eq!(form(&[]), [Some((38, 4)), Some((38, 18))]);
        assert_eq!(form(&["12.50", "7"]), [Some((38, 4)), Some((38, 18))]);
        assert_eq!(form(&["0.0000000001"]), [Some((38, 10)), Some((38, 18))]);
        assert_eq!(form(&["0.0000000000000000001"]), [Some((38, 19)), Some((38, 19))]);
        assert_eq!(form(&[&longest]), [Some((38, 0)), Some((38, 0))]);
        assert_eq!(form(&[&longest, "0.5"]), [Some((76, 38)), Some((76, 38))]);
        assert_eq!(form(&[&longest, &smallest]), [Some((76, 38)), Some((76, 38))]);
        // The sum of many has more digits than each of them.
        assert_eq!(form(&[&"9".repeat(60), &smallest]), [Some((76, 38)), Some((76, 38))]);
        let sum: BigDecimal = format!("{}.{}", "9".repeat(40), "9".repeat(38)).parse().expect("a number");
        assert_eq!(Digits::default().and([&sum]).quantity_form(), None);
    }
}
