//! Puts the draft of a price list in the place of what it would change.

use std::collections::HashSet;

use crate::{
    catalog::{MeterCharge, PriceListDraft},
    model::Currency,
    reports::InvalidField,
    store::{Meters, Price, PriceList},
};

/// Changes a price list in a currency as applying the draft would.
///
/// # Errors
///
/// The field of the draft that names a meter that there is not.
pub(super) fn apply(
    draft: &PriceListDraft,
    list: &mut PriceList,
    meters: &Meters,
    currency: Currency,
) -> Result<(), InvalidField> {
    let find = |name: &str| meters.find(name).and_then(|position| meters.at(position)).map(|(key, _)| *key);
    // A meter that the draft introduces has no usage, so that it makes no difference what it costs.
    let introduced: HashSet<&str> =
        draft.meters.iter().map(|charge| charge.meter.as_str()).filter(|name| find(name).is_none()).collect();
    for (index, price) in draft.prices.iter().enumerate() {
        let Some(meter) = find(&price.meter) else {
            if introduced.contains(price.meter.as_str()) {
                continue;
            }
            let reason = format!("{:?}: there is no such meter, in the draft or in the database", price.meter);
            return Err(InvalidField::new(format!("draft.prices[{index}].meter"), reason));
        };
        if price.currency != currency {
            continue;
        }
        let place = (meter, price.billing_region, price.effective_from);
        list.prices.retain(|real| (real.meter, real.billing_region, real.effective_from) != place);
        list.prices.push(Price {
            meter,
            billing_region: price.billing_region,
            effective_from: price.effective_from,
            pricing: price.pricing.clone(),
        });
    }
    for MeterCharge { meter, charged } in &draft.meters {
        let Some(meter) = find(meter) else { continue };
        if *charged {
            list.uncharged.remove(&meter);
        } else {
            list.uncharged.insert(meter);
        }
    }
    Ok(())
}
