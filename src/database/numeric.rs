//! PostgreSQL's `numeric` in its binary form: groups of four decimal digits, so that no digit is lost or added.
//! The form is that of `numeric_send` in PostgreSQL's `src/backend/utils/adt/numeric.c`.

use bigdecimal::BigDecimal;
use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use super::DatabaseError;
use crate::model::Decimal;

type BoxError = Box<dyn std::error::Error + Sync + Send>;

const BASE: u128 = 10_000;
const GROUP_DIGITS: u8 = 4;
const POSITIVE: u16 = 0;

/// A decimal of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numeric(pub(crate) Decimal);

/// Reads a sum, which may have more digits than a quantity; statements cast sums to `text`.
pub(crate) fn parse_sum(text: &str) -> Result<BigDecimal, DatabaseError> {
    text.parse().map_err(|_| DatabaseError::Malformed(format!("{text:?} is not a sum")))
}

/// Writes a decimal in binary form; returns nothing, since every one fits.
fn put_numeric(decimal: Decimal, out: &mut BytesMut) {
    let scale = decimal.scale();
    // Whole groups behind the point: pad with zeros on the right.
    let padding = (GROUP_DIGITS - scale % GROUP_DIGITS) % GROUP_DIGITS;
    let fraction_groups = i16::from((scale + padding) / GROUP_DIGITS);
    let mut groups = [0_u16; 12];
    let mut count = 0;
    // The lowest group takes the padding, so that the coefficient itself need not grow past 128 bits.
    let mut rest = decimal.coefficient();
    if padding > 0 {
        let unit = 10_u128.pow(u32::from(GROUP_DIGITS - padding));
        groups[0] = group(rest % unit * 10_u128.pow(u32::from(padding)));
        rest /= unit;
        count = 1;
    }
    while rest > 0 {
        groups[count] = group(rest % BASE);
        rest /= BASE;
        count += 1;
    }
    let used = &groups[..count];
    let low_zeros = used.iter().take_while(|&&group| group == 0).count();
    let high_zeros = used[low_zeros..].iter().rev().take_while(|&&group| group == 0).count();
    let significant = &used[low_zeros..count - high_zeros];
    let highest = i16::try_from(count - high_zeros).unwrap_or(0) - 1;
    let weight = if significant.is_empty() { 0 } else { highest - fraction_groups };

    out.put_u16(u16::try_from(significant.len()).unwrap_or(0));
    out.put_i16(weight);
    out.put_u16(POSITIVE);
    out.put_u16(u16::from(scale));
    for &group in significant.iter().rev() {
        out.put_u16(group);
    }
}

/// A remainder of [`BASE`] fits 16 bits.
fn group(value: u128) -> u16 {
    u16::try_from(value % BASE).unwrap_or(0)
}

/// Reads a decimal in binary form.
fn get_numeric(raw: &[u8]) -> Result<Decimal, BoxError> {
    let (words, rest) = raw.as_chunks::<2>();
    let [count, weight, sign, scale, groups @ ..] = words else {
        return Err("a numeric is cut short".into());
    };
    let [count, weight, sign, scale] = [count, weight, sign, scale].map(|&word| u16::from_be_bytes(word));
    if groups.len() != usize::from(count) || !rest.is_empty() {
        return Err("a numeric is cut short".into());
    }
    if sign != POSITIVE {
        return Err("a quantity is negative or not a number".into());
    }
    let too_long = || BoxError::from("a quantity has more than 38 digits");
    let scale = u8::try_from(scale).map_err(|_| too_long())?;
    let Some((&last, higher)) = groups.split_last() else {
        return Decimal::new(0, scale).ok_or_else(too_long);
    };
    let last = u16::from_be_bytes(last);
    let append = |coefficient: u128, digits: u32, value: u16| {
        let shifted = 10_u128.checked_pow(digits)?.checked_mul(coefficient)?;
        shifted.checked_add(u128::from(value))
    };
    let mut coefficient = 0;
    for &group in higher {
        coefficient = append(coefficient, GROUP_DIGITS.into(), u16::from_be_bytes(group)).ok_or_else(too_long)?;
    }
    // How many digits the scale has below the last group; fewer than none, where the group reaches below the scale.
    let group_end = (i32::from(weight.cast_signed()) + 1 - i32::from(count)) * i32::from(GROUP_DIGITS);
    let below = group_end + i32::from(scale);
    let coefficient = if below < 0 {
        let surplus = below.unsigned_abs();
        let digits = u32::from(GROUP_DIGITS).checked_sub(surplus).ok_or("a numeric has digits below its scale")?;
        append(coefficient, digits, last / 10_u16.pow(surplus))
    } else {
        append(coefficient, GROUP_DIGITS.into(), last)
            .and_then(|coefficient| append(coefficient, below.unsigned_abs(), 0))
    };
    let coefficient = coefficient.ok_or_else(too_long)?;
    Decimal::new(coefficient, scale).ok_or_else(too_long)
}

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        get_numeric(raw).map(Self)
    }

    accepts!(NUMERIC);
}

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        put_numeric(self.0, out);
        Ok(IsNull::No)
    }

    accepts!(NUMERIC);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_numeric(text.parse().expect(text), &mut out);
        out.to_vec()
    }

    #[test]
    fn has_the_form_of_numeric_send() {
        // As `SELECT encode(numeric_send(x), 'hex')` prints them.
        for (text, hex) in [
            ("0", "0000000000000000"),
            ("0.00", "0000000000000002"),
            ("1", "00010000000000000001"),
            ("1.50", "000200000000000200011388"),
            ("10000", "00010001000000000001"),
            ("12345678.9", "000300010000000104d2162e2328"),
            ("0.000001", "0001fffe000000060064"),
            ("0.00010", "0001ffff000000050001"),
        ] {
            let found: String = bytes(text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, hex, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_quantity() {
        for raw in
            [&b""[..], b"\0\x01\0\0\0\0\0\0", b"\0\0\0\0\x40\0\0\0", b"\0\0\0\0\xc0\0\0\0", b"\0\0\0\0\0\0\0\0\0"]
        {
            assert!(get_numeric(raw).is_err(), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(coefficient in any::<u128>(), digits in 0_u32..=38, scale in 0..=38_u8) {
            let decimal = Decimal::new(coefficient % 10_u128.pow(digits), scale).expect("in range");
            let mut out = BytesMut::new();
            put_numeric(decimal, &mut out);
            prop_assert_eq!(get_numeric(&out).expect("readable"), decimal);
        }
    }
}
