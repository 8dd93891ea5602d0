//! Drafts of price lists: what a catalog says of prices, to be tried and not applied.

use std::collections::HashSet;

use super::{Catalog, InvalidCatalog, Price, Problem, RawPrice, parse};

/// What a catalog says of prices, and of which meters are charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceListDraft {
    pub prices: Vec<Price>,
    pub meters: Vec<MeterCharge>,
}

/// Whether a meter is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterCharge {
    /// The meter's name.
    pub meter: String,
    pub charged: bool,
}

// === impl PriceListDraft ===

impl PriceListDraft {
    /// Checks what is written, as a file is checked.
    pub fn check(prices: Vec<RawPrice>, meters: Vec<MeterCharge>) -> Result<Self, InvalidCatalog> {
        let prices = parse::check_prices(prices)?;
        let mut seen = HashSet::new();
        let twice = |(index, charge): (usize, &MeterCharge)| {
            let place = format!("meters[{index}].meter");
            (!seen.insert(charge.meter.clone())).then(|| Problem { place, reason: "is in the list already".to_owned() })
        };
        let problems: Vec<Problem> = meters.iter().enumerate().filter_map(twice).collect();
        if problems.is_empty() { Ok(Self { prices, meters }) } else { Err(InvalidCatalog(problems)) }
    }
}

impl From<&Catalog> for PriceListDraft {
    fn from(catalog: &Catalog) -> Self {
        let meters = catalog.meters.iter();
        Self {
            prices: catalog.prices.clone(),
            meters: meters.map(|meter| MeterCharge { meter: meter.name.clone(), charged: meter.charged }).collect(),
        }
    }
}
