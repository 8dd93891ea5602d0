//! Graduated prices.

use super::Decimal;

/// A tier of a price: the part of a quantity that is above the tier before, up to this one's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceTier {
    /// Where it ends, inclusive, in the meter's unit; `None`: the last tier.
    pub up_to: Option<Decimal>,
    /// Price of one unit.
    pub unit_price: Decimal,
}
