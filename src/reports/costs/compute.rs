//! Computes the lines of a bill from stored totals and prices. Reads nothing.

use std::collections::{BTreeMap, HashMap};

use bigdecimal::{BigDecimal, Zero as _};

use super::{CostLine, TenantMonth};
use crate::{
    model::{BillingRegion, Currency, Month, TenantId},
    reports::{
        manifest::Revision,
        rating::{Rating, rate},
    },
    store::{CostPart, CostTenant, MeterKey, Meters, Price, StoreError, TenantKey},
};

/// What lines are computed with.
pub(in crate::reports) struct Rates {
    meters: Meters,
    prices: HashMap<MeterKey, Vec<Price>>,
    currency: Currency,
}

/// The usage of a line.
#[derive(Default)]
struct Usage {
    billable: BigDecimal,
    trial: BigDecimal,
    record_count: i64,
}

// === impl Rates ===

impl Rates {
    pub(in crate::reports) fn new(meters: Meters, prices: Vec<Price>, currency: Currency) -> Self {
        let mut by_meter: HashMap<MeterKey, Vec<Price>> = HashMap::new();
        for price in prices {
            by_meter.entry(price.meter).or_default().push(price);
        }
        Self { meters, prices: by_meter, currency }
    }

    /// The lines of a part of a bill, in order.
    pub(in crate::reports) fn lines(&self, part: &CostPart) -> Result<Vec<CostLine>, StoreError> {
        // Tenants and meters are sorted by name, so positions give the order of the lines.
        let tenants: HashMap<TenantKey, usize> =
            part.tenants.iter().enumerate().map(|(position, tenant)| (tenant.key, position)).collect();
        let mut usage: BTreeMap<(Month, usize, usize, BillingRegion), Usage> = BTreeMap::new();
        for used in &part.usage {
            let tenant = tenants
                .get(&used.tenant)
                .ok_or_else(|| StoreError::Corrupt("usage of another organization's tenant".to_owned()))?;
            let meter = self.meters.position(used.key.meter)?;
            let line = usage.entry((used.month, *tenant, meter, used.key.billing_region)).or_default();
            let sum = if used.key.trial { &mut line.trial } else { &mut line.billable };
            *sum += &used.quantity;
            line.record_count += used.record_count;
        }
        let lines = usage.into_iter().filter_map(|((month, tenant, meter, region), usage)| {
            let (key, meter) = self.meters.at(meter)?;
            let CostTenant { id, name, plan, .. } = part.tenants.get(tenant)?;
            let (tiers, cost) = self
                .rating(*key, region, month, &usage.billable)
                .map_or_else(|| (Vec::new(), None), |rating| (rating.tiers, Some(rating.cost)));
            Some(CostLine {
                month,
                tenant_id: *id,
                tenant_name: name.clone(),
                plan: plan.clone(),
                meter: std::sync::Arc::clone(meter),
                billing_region: region,
                quantity: usage.billable,
                trial_quantity: usage.trial,
                tiers,
                cost,
                record_count: usage.record_count,
            })
        });
        Ok(lines.collect())
    }

    /// `None`: no price covers it.
    fn rating(&self, meter: MeterKey, region: BillingRegion, month: Month, billable: &BigDecimal) -> Option<Rating> {
        match self.prices.get(&meter).and_then(|prices| effective_price(prices, region, month)) {
            Some(price) => Some(rate(billable, &price.pricing, self.currency)),
            // A zero quantity needs no price.
            None => billable.is_zero().then(|| Rating::nothing(self.currency)),
        }
    }
}

/// The price of a region in a month: a price for the region takes precedence over one for all regions, then the latest.
fn effective_price(prices: &[Price], region: BillingRegion, month: Month) -> Option<&Price> {
    prices
        .iter()
        .filter(|price| price.effective_from <= month)
        .filter(|price| price.billing_region.is_none_or(|of| of == region))
        .max_by_key(|price| (price.billing_region.is_some(), price.effective_from))
}

/// The reports that a part of a bill comes from.
pub(in crate::reports) fn tenant_months(part: &CostPart) -> HashMap<(Month, TenantId), TenantMonth> {
    let ids: HashMap<TenantKey, TenantId> = part.tenants.iter().map(|tenant| (tenant.key, tenant.id)).collect();
    let reports = part.months.iter().filter_map(|stored| {
        let (month, tenant_id) = (stored.month, *ids.get(&stored.tenant)?);
        let (revision, data_as_of) = (Revision(stored.revision), Some(stored.data_as_of));
        Some(((month, tenant_id), TenantMonth { month, tenant_id, revision, data_as_of }))
    });
    reports.collect()
}
