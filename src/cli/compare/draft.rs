//! The draft of a price list, from a catalog file.

use std::path::Path;

use crate::{
    catalog::{Catalog, Price},
    cli::{CommandError, catalog::read as read_catalog, output::note},
    contract::proto::{DraftMeter, DraftPrice, DraftTier, PriceListDraft},
    model::BillingRegion,
};

/// Reads a file, and says what of it is ignored.
pub(super) async fn read(path: &Path) -> Result<PriceListDraft, CommandError> {
    let catalog = read_catalog(path).await?.map_err(|error| format!("{}: {error}", path.display()))?;
    let ignored = [("organizations", catalog.organizations.len()), ("tenants", catalog.tenants.len())];
    let ignored = ignored.into_iter().filter(|&(_, count)| count > 0);
    let ignored: Vec<String> = ignored.map(|(section, count)| format!("{count} {section}")).collect();
    if !ignored.is_empty() {
        note(&format!(
            "note: {}: {} are ignored; prices count, and which meters are charged",
            path.display(),
            ignored.join(" and ")
        ));
    }
    Ok(to_draft(&catalog))
}

fn to_draft(catalog: &Catalog) -> PriceListDraft {
    let meters = catalog.meters.iter();
    PriceListDraft {
        prices: catalog.prices.iter().map(price).collect(),
        meters: meters.map(|meter| DraftMeter { meter: meter.name.clone(), charged: meter.charged }).collect(),
    }
}

fn price(price: &Price) -> DraftPrice {
    let tiers = price.pricing.model.tiers().iter().map(|tier| DraftTier {
        up_to: tier.up_to.map(|end| end.to_string()).unwrap_or_default(),
        unit_price: tier.unit_price.to_string(),
    });
    DraftPrice {
        meter: price.meter.clone(),
        currency: price.currency.code().to_owned(),
        billing_region: price.billing_region.map_or(0, BillingRegion::code).into(),
        effective_from: Some(price.effective_from.into()),
        pricing_model: price.pricing.model.code(),
        rounding: price.pricing.rounding.code(),
        tiers: tiers.collect(),
    }
}
