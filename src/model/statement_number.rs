//! Numbers of statements.

use std::{fmt, str::FromStr};

use super::Month;

/// Names a statement for people: its billing month, and its place among the statements of all organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementNumber {
    pub billing_month: Month,
    /// Counts from 1, without gaps.
    pub sequence: u64,
}

/// A text is not the number of a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a statement such as 2024-02-000017")]
pub struct InvalidStatementNumber;

impl fmt::Display for StatementNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06}", self.billing_month, self.sequence)
    }
}

impl FromStr for StatementNumber {
    type Err = InvalidStatementNumber;

    fn from_str(text: &str) -> Result<Self, InvalidStatementNumber> {
        let (month, sequence) = text.rsplit_once('-').ok_or(InvalidStatementNumber)?;
        let number = Self {
            billing_month: month.parse().map_err(|_| InvalidStatementNumber)?,
            sequence: sequence.parse().map_err(|_| InvalidStatementNumber)?,
        };
        if number.sequence > 0 && number.to_string() == text { Ok(number) } else { Err(InvalidStatementNumber) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for text in ["2024-02-000017", "0001-01-000001", "9999-12-1234567"] {
            assert_eq!(text.parse::<StatementNumber>().expect(text).to_string(), text);
        }
        for text in
            ["", "2024-02", "2024-02-17", "2024-02-000000", "2024-13-000001", "2024-02-0000017", "2024-02-+00017"]
        {
            assert_eq!(text.parse::<StatementNumber>(), Err(InvalidStatementNumber), "{text:?}");
        }
    }
}
