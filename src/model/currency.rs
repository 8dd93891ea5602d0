//! Currencies by ISO 4217.

use std::{fmt, str::FromStr};

use bigdecimal::{BigDecimal, num_bigint::BigInt};

use super::RoundingMode;

/// A currency of ISO 4217 that has a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// A text is not the code of such a currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 4217 currency code such as USD")]
pub struct InvalidCurrency;

impl Currency {
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The number of decimal places: JPY 0, USD 2, KWD 3.
    pub fn minor_digits(self) -> u16 {
        // Parsing refuses codes without a minor unit, such as gold and test codes.
        self.0.exponent().unwrap_or(0)
    }

    /// Rounds to the minor unit.
    pub fn round(self, amount: &BigDecimal, mode: RoundingMode) -> BigDecimal {
        let mode = match mode {
            RoundingMode::HalfAwayFromZero => bigdecimal::RoundingMode::HalfUp,
            RoundingMode::HalfEven => bigdecimal::RoundingMode::HalfEven,
        };
        amount.with_scale_round(i64::from(self.minor_digits()), mode)
    }

    /// Zero, with the decimal places of the minor unit.
    pub fn zero(self) -> BigDecimal {
        BigDecimal::new(BigInt::default(), i64::from(self.minor_digits()))
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        iso_currency::Currency::from_code(text)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or(InvalidCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_minor_unit() {
        for (code, amount, away_from_zero, to_even) in [
            ("JPY", "10.5", "11", "10"),
            ("JPY", "11.5", "12", "12"),
            ("JPY", "10.49", "10", "10"),
            ("USD", "0.005", "0.01", "0.00"),
            ("USD", "0.015", "0.02", "0.02"),
            ("USD", "0.00500001", "0.01", "0.01"),
            ("USD", "0.0049999999", "0.00", "0.00"),
            ("USD", "2.5", "2.50", "2.50"),
            ("KWD", "1.0005", "1.001", "1.000"),
        ] {
            let currency: Currency = code.parse().expect(code);
            let amount: BigDecimal = amount.parse().expect(amount);
            let rounded = |mode| currency.round(&amount, mode).to_plain_string();
            assert_eq!(rounded(RoundingMode::HalfAwayFromZero), away_from_zero, "{code} {amount}");
            assert_eq!(rounded(RoundingMode::HalfEven), to_even, "{code} {amount}");
            assert_eq!(currency.zero().fractional_digit_count(), i64::from(currency.minor_digits()));
        }
    }

    #[test]
    fn codes_are_iso_4217() {
        for text in ["", "usd", "US", "XXX", "XAU", "ABC"] {
            assert_eq!(text.parse::<Currency>(), Err(InvalidCurrency), "{text:?}");
        }
    }
}
