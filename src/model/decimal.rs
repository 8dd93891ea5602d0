//! Exact decimals, with their digits as written. No floating point, no rounding.

use std::{fmt, str::FromStr};

use bigdecimal::{
    BigDecimal,
    num_bigint::{BigInt, BigUint},
};

/// A decimal that is not negative, with at most 38 digits, and with its digits as written: `1.50` stays `1.50`.
///
/// 38 digits are what fits an integer of 128 bits; no meter needs more, and arithmetic on it needs no allocation.
/// Two decimals are equal when they are written alike: `1.5` and `1.50` are the same amount and different content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// The digits without the point.
    coefficient: u128,
    /// The number of decimal places.
    scale: u8,
}

/// An exact sum of [`Decimal`]s, without a limit.
#[derive(Clone, Debug, Default)]
pub struct DecimalSum {
    /// Partial sums by scale: meters report with one or two scales, so this stays tiny.
    by_scale: Vec<(u8, u128)>,
    /// Partial sums that reached the limit of 128 bits.
    overflow: BigDecimal,
}

/// A text is not a decimal, or it has too many digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDecimal {
    #[error("not a decimal number such as 12.50 (a decimal point, no thousands separators)")]
    Form,
    #[error("is negative")]
    Negative,
    /// More than 38 digits.
    #[error("has more than {} digits", Decimal::MAX_DIGITS)]
    TooLong,
}

// === impl Decimal ===

impl Decimal {
    /// The maximum number of digits, and of decimal places.
    pub const MAX_DIGITS: u8 = 38;
    const LIMIT: u128 = 10_u128.pow(Self::MAX_DIGITS as u32);

    /// `coefficient / 10^scale`; `None` where that has more than 38 digits.
    pub fn new(coefficient: u128, scale: u8) -> Option<Self> {
        (coefficient < Self::LIMIT && scale <= Self::MAX_DIGITS).then_some(Self { coefficient, scale })
    }

    /// The digits without the point.
    pub fn coefficient(self) -> u128 {
        self.coefficient
    }

    /// The number of decimal places.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Appends what [`Display`](fmt::Display) writes, faster.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        // 64-bit numbers are much faster to divide, and nearly all quantities fit.
        let digits = match u64::try_from(self.coefficient) {
            Ok(coefficient) => digits.format(coefficient),
            Err(_) => digits.format(self.coefficient),
        }
        .as_bytes();
        let scale = usize::from(self.scale);
        if scale == 0 {
            out.extend_from_slice(digits);
        } else if let Some(whole) = digits.len().checked_sub(scale).filter(|&whole| whole > 0) {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        } else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits);
        }
    }

    /// Whether a decimal is written as [`write_to`](Self::write_to) writes it: without zeros in front.
    pub fn is_plain(text: &[u8]) -> bool {
        matches!(text, [b'0'] | [b'0', b'.', ..] | [b'1'..=b'9', ..])
    }

    /// Reads digits with at most one point between them, which is how reports and most files write a decimal.
    /// [`FromStr`] reads every spelling.
    pub fn from_plain(text: &[u8]) -> Result<Self, InvalidDecimal> {
        // 64-bit numbers are much faster to multiply, and nearly all quantities fit.
        if text.len() <= 19
            && let Some(decimal) = Self::from_short(text)
        {
            return Ok(decimal);
        }
        let point = text.iter().position(|&byte| byte == b'.');
        let (whole, fraction) = match point {
            Some(point) if point + 1 == text.len() => return Err(InvalidDecimal::Form),
            Some(point) => (&text[..point], &text[point + 1..]),
            None => (text, &[][..]),
        };
        if whole.is_empty() {
            return Err(InvalidDecimal::Form);
        }
        let digits = whole.iter().chain(fraction);
        let mut coefficient: u128 = 0;
        let mut too_long = false;
        for byte in digits {
            if !byte.is_ascii_digit() {
                return Err(InvalidDecimal::Form);
            }
            // Past the limit, only the form is checked.
            if too_long || coefficient >= Self::LIMIT / 10 {
                too_long = true;
                continue;
            }
            coefficient = coefficient * 10 + u128::from(byte - b'0');
        }
        let scale = u8::try_from(fraction.len()).map_err(|_| InvalidDecimal::TooLong)?;
        if too_long {
            return Err(InvalidDecimal::TooLong);
        }
        Self::new(coefficient, scale).ok_or(InvalidDecimal::TooLong)
    }

    /// The same for no more than 19 bytes, in one go; `None`: it is not of this form.
    fn from_short(text: &[u8]) -> Option<Self> {
        let (mut coefficient, mut point) = (0_u64, None);
        for (index, &byte) in text.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                coefficient = coefficient * 10 + u64::from(digit);
            } else if byte == b'.' && index > 0 && point.is_none() {
                point = Some(index);
            } else {
                return None;
            }
        }
        let scale = match point {
            Some(point) => u8::try_from(text.len() - point - 1).ok().filter(|&places| places > 0)?,
            None if text.is_empty() => return None,
            None => 0,
        };
        Some(Self { coefficient: coefficient.into(), scale })
    }

    /// Converts to a type for arithmetic.
    pub fn to_big(self) -> BigDecimal {
        big(self.coefficient, self.scale)
    }
}

/// Reads every exact spelling: a sign, an exponent, no digit before or behind the point. What counts is whether the value
/// can be kept, so zeros behind the point that do not fit are dropped.
impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        Self::from_plain(text.as_bytes()).or_else(|_| from_spelling(text.as_bytes()))
    }
}

fn from_spelling(text: &[u8]) -> Result<Decimal, InvalidDecimal> {
    const MAX_DIGITS: i64 = Decimal::MAX_DIGITS as i64;
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let exponent_mark = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e'));
    let (mantissa, exponent) = match exponent_mark {
        Some(at) => (&text[..at], read_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    let (whole, fraction) = (&mantissa[..point], mantissa.get(point + 1..).unwrap_or_default());
    let mut digits: Vec<u8> = whole.iter().chain(fraction).copied().collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidDecimal::Form);
    }
    let mut scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(exponent);
    digits.drain(..digits.iter().take_while(|&&digit| digit == b'0').count());
    if digits.is_empty() {
        let scale = u8::try_from(scale.clamp(0, MAX_DIGITS)).unwrap_or_default();
        return Decimal::new(0, scale).ok_or(InvalidDecimal::TooLong);
    }
    if is_negative {
        return Err(InvalidDecimal::Negative);
    }
    let count = |digits: &Vec<u8>| i64::try_from(digits.len()).unwrap_or(i64::MAX);
    while scale > 0 && scale.max(count(&digits)) > MAX_DIGITS && digits.last() == Some(&b'0') {
        digits.pop();
        scale -= 1;
    }
    if scale.max(count(&digits).saturating_sub(scale.min(0))) > MAX_DIGITS {
        return Err(InvalidDecimal::TooLong);
    }
    // At most 38 digits, including the appended zeros.
    let zeros = u32::try_from(-scale.min(0)).unwrap_or_default();
    let coefficient = digits.iter().fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0')) * 10_u128.pow(zeros);
    Decimal::new(coefficient, u8::try_from(scale.max(0)).unwrap_or_default()).ok_or(InvalidDecimal::TooLong)
}

/// An exponent that is far beyond what can be kept counts as a very large one.
fn read_exponent(text: &[u8]) -> Result<i64, InvalidDecimal> {
    const EXPONENT_LIMIT: i64 = 1 << 40;
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidDecimal::Form);
    }
    let size = digits.iter().fold(0_i64, |size, digit| (size * 10 + i64::from(digit - b'0')).min(EXPONENT_LIMIT));
    Ok(if is_negative { -size } else { size })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.coefficient);
        }
        let unit = 10_u128.pow(u32::from(self.scale));
        let (whole, fraction) = (self.coefficient / unit, self.coefficient % unit);
        write!(f, "{whole}.{fraction:0width$}", width = usize::from(self.scale))
    }
}

// === impl DecimalSum ===

impl DecimalSum {
    /// Starts from a total.
    pub fn from_total(total: BigDecimal) -> Self {
        Self { by_scale: Vec::new(), overflow: total }
    }

    pub fn add(&mut self, amount: Decimal) {
        for (scale, sum) in &mut self.by_scale {
            if *scale == amount.scale {
                if let Some(more) = sum.checked_add(amount.coefficient) {
                    *sum = more;
                } else {
                    self.overflow += big(*sum, *scale);
                    *sum = amount.coefficient;
                }
                return;
            }
        }
        self.by_scale.push((amount.scale, amount.coefficient));
    }

    /// The exact sum.
    pub fn total(&self) -> BigDecimal {
        self.by_scale.iter().fold(self.overflow.clone(), |total, &(scale, sum)| total + big(sum, scale))
    }
}

/// A decimal without exponent and without trailing zeros behind the point: one amount, one text.
pub fn plain(amount: &BigDecimal) -> String {
    amount.normalized().to_plain_string()
}

fn big(coefficient: u128, scale: u8) -> BigDecimal {
    BigDecimal::new(BigInt::from(BigUint::from(coefficient)), i64::from(scale))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Decimal, InvalidDecimal> {
        text.parse()
    }

    #[test]
    fn keeps_what_was_written() {
        for text in ["0", "0.00", "1.50", "12", "0.000001", "99999999999999999999999999999999999999"] {
            assert_eq!(parse(text).expect(text).to_string(), text);
        }
        let smallest = format!("0.{}1", "0".repeat(37));
        assert_eq!(parse(&smallest).expect("38 digits behind the point").to_string(), smallest);
    }

    #[test]
    fn drops_leading_zeros_only() {
        assert_eq!(parse("007.50").expect("leading zeros").to_string(), "7.50");
        let padded = format!("{}1", "0".repeat(60));
        assert_eq!(parse(&padded).expect("leading zeros").to_string(), "1");
    }

    #[test]
    fn every_exact_spelling_is_read() {
        for (text, written) in [
            ("9.984E-7", "0.0000009984"),
            ("1.5e+3", "1500"),
            ("1.50e1", "15.0"),
            ("1.50E0", "1.50"),
            ("0E-18", "0.000000000000000000"),
            ("0e5", "0"),
            (".5", "0.5"),
            ("5.", "5"),
            ("5.e-1", "0.5"),
            ("+1", "1"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("1e37", "10000000000000000000000000000000000000"),
            ("1E-38", "0.00000000000000000000000000000000000001"),
            ("00000000000000000000000000000000000000000000000001.5", "1.5"),
        ] {
            assert_eq!(parse(text).map(|decimal| decimal.to_string()), Ok(written.to_owned()), "{text:?}");
        }
        // What is kept is the value: zeros that do not fit are not part of it.
        let zeros = "0".repeat(300);
        for (text, value) in [
            (format!("1.5{zeros}"), "1.5"),
            (format!("{zeros}.{zeros}"), "0"),
            (format!("0e{zeros}99999999999999999999"), "0"),
            (format!("0e-{zeros}99999999999999999999"), "0"),
            (format!("15{zeros}e-301"), "1.5"),
        ] {
            assert_eq!(parse(&text).map(|decimal| plain(&decimal.to_big())), Ok(value.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_guessed_and_nothing_is_rounded() {
        for text in [
            "", ".", "+", "-", "e1", ".e1", "1e", "1e+", "1e1.0", "1e1e1", "--1", "1,5", "1.234,5", " 1", "1 ",
            "1.2.3", "NaN", "Infinity", "٣", "1_000", "0x10", "1/2",
        ] {
            assert_eq!(parse(text), Err(InvalidDecimal::Form), "{text:?}");
        }
        for text in ["-1", "-1e-30", "-.5", "-99999999999999999999999999999999999999"] {
            assert_eq!(parse(text), Err(InvalidDecimal::Negative), "{text:?}");
        }
        let long = "1".repeat(39);
        for text in [
            long.clone(),
            format!("0.{long}"),
            "1e38".to_owned(),
            "1e-39".to_owned(),
            "1e999999999999999999999".to_owned(),
        ] {
            assert_eq!(parse(&text), Err(InvalidDecimal::TooLong), "{text:?}");
        }
        assert_eq!(parse(&format!("{long}x")), Err(InvalidDecimal::Form));
    }

    proptest! {
        #[test]
        fn text_round_trip(coefficient in 0..Decimal::LIMIT, scale in 0..=Decimal::MAX_DIGITS) {
            let decimal = Decimal::new(coefficient, scale).expect("in range");
            prop_assert_eq!(parse(&decimal.to_string()), Ok(decimal));
            prop_assert_eq!(from_spelling(decimal.to_string().as_bytes()), Ok(decimal));
            let mut fast = Vec::new();
            decimal.write_to(&mut fast);
            prop_assert!(Decimal::is_plain(&fast));
            prop_assert!(!Decimal::is_plain(&[b"0", &fast[..]].concat()));
            prop_assert_eq!(String::from_utf8(fast).expect("digits"), decimal.to_string());
        }

        /// Against a library that knows no limits.
        #[test]
        fn spellings_have_the_value_that_they_say(
            text in "[+-]?([0-9]{1,30}[.]?[0-9]{0,30}|[.][0-9]{1,30})([eE][+-]?[0-9]{1,3})?",
        ) {
            let value: BigDecimal = text.parse().expect("a number");
            let normalized = value.normalized();
            let (digits, scale) = (normalized.digits(), normalized.as_bigint_and_exponent().1);
            let fits = scale <= 38 && i128::from(digits) - i128::from(scale.min(0)) <= 38;
            match parse(&text) {
                Ok(decimal) => prop_assert_eq!(decimal.to_big(), value),
                Err(InvalidDecimal::Negative) => prop_assert!(value < 0),
                Err(error) => prop_assert!(!fits && error == InvalidDecimal::TooLong, "{}: {}", text, error),
            }
        }

        #[test]
        fn sum_is_that_of_integers(parts in prop::collection::vec((0..Decimal::LIMIT, 0..=Decimal::MAX_DIGITS), 0..40)) {
            let mut sum = DecimalSum::default();
            let mut units = BigUint::from(0_u8);
            for &(coefficient, scale) in &parts {
                sum.add(Decimal::new(coefficient, scale).expect("in range"));
                units += BigUint::from(coefficient) * BigUint::from(10_u8).pow(u32::from(38 - scale));
            }
            prop_assert_eq!(sum.total(), BigDecimal::new(BigInt::from(units), 38));
        }
    }
}
