//! Computes the lines of a bill from stored totals and prices. Reads nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use bigdecimal::{BigDecimal, Zero as _};

use super::{CostLine, CostTotal, TenantMonth};
use crate::{
    model::{BillingRegion, Currency, Month, MonthRange},
    reports::{
        manifest::Revision,
        rating::{Rating, rate},
    },
    store::{CostTenant, MeterKey, Meters, OrganizationCosts, Price, StoreError, TenantKey},
};

/// The usage of a line.
#[derive(Default)]
struct Usage {
    billable: BigDecimal,
    trial: BigDecimal,
    record_count: i64,
}

/// The lines of a bill, in order.
pub(super) fn lines(
    data: &OrganizationCosts,
    meters: &Meters,
    currency: Currency,
) -> Result<Vec<CostLine>, StoreError> {
    // Tenants and meters are sorted by name, so positions give the order of the lines.
    let tenants: HashMap<TenantKey, usize> =
        data.tenants.iter().enumerate().map(|(position, tenant)| (tenant.key, position)).collect();
    let mut usage: BTreeMap<(Month, usize, usize, BillingRegion), Usage> = BTreeMap::new();
    for part in &data.usage {
        let tenant = tenants
            .get(&part.tenant)
            .ok_or_else(|| StoreError::Corrupt("usage of another organization's tenant".to_owned()))?;
        let meter = meters.position(part.key.meter)?;
        let line = usage.entry((part.month, *tenant, meter, part.key.billing_region)).or_default();
        let sum = if part.key.trial { &mut line.trial } else { &mut line.billable };
        *sum += &part.quantity;
        line.record_count += part.record_count;
    }
    let prices = by_meter(&data.prices);
    let lines = usage.into_iter().filter_map(|((month, tenant, meter, region), usage)| {
        let (key, meter) = meters.at(meter)?;
        let CostTenant { id, name, plan, .. } = data.tenants.get(tenant)?;
        let price = prices.get(key).and_then(|prices| effective_price(prices, region, month));
        let rating = match price {
            Some(price) => Some(rate(&usage.billable, &price.pricing, currency)),
            // A zero quantity needs no price.
            None if usage.billable.is_zero() => Some(Rating::nothing(currency)),
            None => None,
        };
        let (tiers, cost) = rating.map_or((Vec::new(), None), |rating| (rating.tiers, Some(rating.cost)));
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

fn by_meter(prices: &[Price]) -> HashMap<MeterKey, Vec<&Price>> {
    let mut by_meter: HashMap<MeterKey, Vec<&Price>> = HashMap::new();
    for price in prices {
        by_meter.entry(price.meter).or_default().push(price);
    }
    by_meter
}

/// The price of a region in a month: a price for the region takes precedence over one for all regions, then the latest.
fn effective_price<'p>(prices: &[&'p Price], region: BillingRegion, month: Month) -> Option<&'p Price> {
    prices
        .iter()
        .filter(|price| price.effective_from <= month)
        .filter(|price| price.billing_region.is_none_or(|of| of == region))
        .max_by_key(|price| (price.billing_region.is_some(), price.effective_from))
        .copied()
}

/// The sum of each month's lines; months without lines have one too.
pub(super) fn totals(lines: &[CostLine], months: MonthRange, currency: Currency) -> Vec<CostTotal> {
    let mut sums: BTreeMap<Month, BigDecimal> = months.iter().map(|month| (month, currency.zero())).collect();
    for line in lines {
        if let (Some(sum), Some(cost)) = (sums.get_mut(&line.month), &line.cost) {
            *sum += cost;
        }
    }
    sums.into_iter().map(|(month, cost)| CostTotal { month, cost }).collect()
}

/// The reports that lines come from, in the lines' order.
pub(super) fn tenant_months(data: &OrganizationCosts, lines: &[CostLine]) -> Vec<TenantMonth> {
    let ids: HashMap<TenantKey, _> = data.tenants.iter().map(|tenant| (tenant.key, tenant.id)).collect();
    let mut months = HashMap::new();
    for month in &data.months {
        if let Some(&tenant_id) = ids.get(&month.tenant) {
            months.insert((month.month, tenant_id), month);
        }
    }
    let mut seen = HashSet::new();
    lines
        .iter()
        .map(|line| (line.month, line.tenant_id))
        .filter(|key| seen.insert(*key))
        .filter_map(|(month, tenant_id)| {
            let stored = months.get(&(month, tenant_id))?;
            let (revision, data_as_of) = (Revision(stored.revision), Some(stored.data_as_of));
            Some(TenantMonth { month, tenant_id, revision, data_as_of })
        })
        .collect()
}
