//! How a quantity is priced. A price is stored with its model and its rounding mode, so that a change of code changes no past
//! bill: another model, or another mode, is another variant here and another value in the database.

use std::{fmt, str::FromStr};

use super::Decimal;

/// How a quantity is priced, and how the result is rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pricing {
    pub model: PricingModel,
    pub rounding: RoundingMode,
}

/// How a quantity is priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PricingModel {
    /// Each tier prices the part of the quantity that falls into it. At least one tier; ends go up, and only the last has none.
    Graduated(Vec<PriceTier>),
}

/// A tier of a price: the part of a quantity that is above the tier before, up to this one's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceTier {
    /// Where it ends, inclusive, in the meter's unit; `None`: the last tier.
    pub up_to: Option<Decimal>,
    /// The price of one unit.
    pub unit_price: Decimal,
}

/// How a line's cost is rounded to the minor unit of its currency. The codes are those of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoundingMode {
    #[default]
    HalfAwayFromZero = 1,
    HalfEven = 2,
}

/// A text is not the name of a rounding mode or pricing model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of {0}")]
pub struct InvalidPricing(&'static str);

// === impl PricingModel ===

impl PricingModel {
    /// The name of [`PricingModel::Graduated`] in catalogs and in the database.
    pub const GRADUATED: &'static str = "graduated";

    /// The name in catalogs and in the database.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Graduated(_) => Self::GRADUATED,
        }
    }

    /// The number in the contract.
    pub fn code(&self) -> i32 {
        match self {
            Self::Graduated(_) => 1,
        }
    }

    /// The name of a number in the contract.
    pub fn name_of(code: i32) -> Option<&'static str> {
        match code {
            1 => Some(Self::GRADUATED),
            _ => None,
        }
    }

    /// The model with this name and these tiers.
    ///
    /// # Errors
    ///
    /// There is no such model.
    pub fn named(name: &str, tiers: Vec<PriceTier>) -> Result<Self, InvalidPricing> {
        match name {
            Self::GRADUATED => Ok(Self::Graduated(tiers)),
            _ => Err(InvalidPricing(Self::GRADUATED)),
        }
    }

    /// The tiers, in order.
    pub fn tiers(&self) -> &[PriceTier] {
        match self {
            Self::Graduated(tiers) => tiers,
        }
    }
}

// === impl RoundingMode ===

impl RoundingMode {
    const ALL: [Self; 2] = [Self::HalfAwayFromZero, Self::HalfEven];

    /// The number in the contract.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The mode of a number in the contract.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }

    /// The name in catalogs and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfAwayFromZero => "half_away_from_zero",
            Self::HalfEven => "half_even",
        }
    }
}

impl fmt::Display for RoundingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RoundingMode {
    type Err = InvalidPricing;

    fn from_str(text: &str) -> Result<Self, InvalidPricing> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or(InvalidPricing("half_away_from_zero, half_even"))
    }
}
