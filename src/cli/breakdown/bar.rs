//! Bars that show, beside numbers, which are large.

use std::collections::HashMap;

use bigdecimal::{
    BigDecimal, ToPrimitive as _,
    num_bigint::{BigInt, Sign},
};

use crate::contract::proto::CostShare;

/// How long the longest bar is, in characters.
const WIDTH: usize = 20;
/// A character by its eighths.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// A bar for each row: its cost beside the largest one of its month and currency.
pub(super) fn bars(rows: &[CostShare]) -> Vec<String> {
    let cost = |row: &CostShare| row.cost.parse::<BigDecimal>().unwrap_or_default();
    let group = |row: &CostShare| (row.month.map(|month| (month.year, month.month)), row.currency.clone());
    let mut largest: HashMap<_, BigDecimal> = HashMap::new();
    for row in rows {
        let largest = largest.entry(group(row)).or_default();
        *largest = cost(row).max(std::mem::take(largest));
    }
    rows.iter()
        .map(|row| largest.get(&group(row)).map_or_else(String::new, |largest| bar(&cost(row), largest)))
        .collect()
}

/// No bar for nothing, and at least a line for anything.
fn bar(cost: &BigDecimal, largest: &BigDecimal) -> String {
    let scale = cost.fractional_digit_count().max(largest.fractional_digit_count());
    let units = |amount: &BigDecimal| amount.with_scale(scale).into_bigint_and_exponent().0;
    let (cost, largest) = (units(cost), units(largest));
    if cost.sign() != Sign::Plus || largest.sign() != Sign::Plus {
        return String::new();
    }
    let eighths = (cost * BigInt::from(8 * WIDTH) / largest).to_usize().unwrap_or(0).clamp(1, 8 * WIDTH);
    EIGHTHS[8].repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::proto::YearMonth;

    fn row(month: i32, cost: &str) -> CostShare {
        CostShare { month: Some(YearMonth { year: 2022, month }), cost: cost.to_owned(), ..CostShare::default() }
    }

    #[test]
    fn bars_are_as_long_as_costs_are_large_within_their_month() {
        let rows = [row(1, "80.00"), row(1, "20"), row(1, "0.01"), row(1, "0.00"), row(1, ""), row(2, "3")];
        let full = "█".repeat(WIDTH);
        assert_eq!(bars(&rows), [full.as_str(), "█████", "▏", "", "", full.as_str()]);
        assert_eq!(bars(&[row(1, "0"), row(1, "0")]), ["", ""]);
        assert_eq!(bar(&"1".parse().expect("a number"), &"3".parse().expect("a number")), "██████▋");
    }
}
