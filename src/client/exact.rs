//! Amounts in answers.

use bigdecimal::BigDecimal;

/// More digits than any sum of records has.
const MAX_BYTES: usize = 128;

/// A decimal without an exponent, which would make a large number of a small text.
pub(super) fn exact(text: &str) -> Option<BigDecimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = text.len() <= MAX_BYTES
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.ends_with(|last: char| last.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::exact;

    #[test]
    fn amounts_are_plain_and_short() {
        for text in ["0", "12.50", "-0.5", "1234567890123456789012345678901234567890.5"] {
            assert_eq!(exact(text).map(|amount| amount.to_plain_string()).as_deref(), Some(text));
        }
        for text in ["", "-", ".5", "5.", "1e9", "1E999999999", "+1", "1.2.3", "NaN", " 1", &"9".repeat(129)] {
            assert_eq!(exact(text), None, "{text}");
        }
    }
}
