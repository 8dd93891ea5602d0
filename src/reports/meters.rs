//! Meters that a filter names.

use super::InvalidField;
use crate::store::{MeterKey, Meters};

/// The meters of these names, in order, each once. Composed characters and their parts are one.
///
/// # Errors
///
/// A name is no meter's.
pub(super) fn named(names: &[String], meters: &Meters) -> Result<Vec<MeterKey>, InvalidField> {
    let mut keys: Vec<MeterKey> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let before = keys.len();
        keys.extend(meters.alike(name));
        if keys.len() == before {
            return Err(InvalidField::new(
                format!("filter.meter_names[{index}]"),
                format!("there is no meter {name:?}"),
            ));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
