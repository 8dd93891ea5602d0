//! Computes the lines of a bill from stored totals and prices. Reads nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use bigdecimal::{BigDecimal, Zero as _};

use super::{CostLine, TenantMonth};
use crate::{
    model::{BillingRegion, Currency, Month, TenantId},
    reports::{
        manifest::Revision,
        price_in_force::effective_price,
        rating::{Rating, rate},
    },
    store::{BilledKey, CostPart, CostTenant, MeterKey, Meters, Price, PriceList, StoreError, TenantKey},
};

/// What lines are computed with.
pub(crate) struct Rates {
    meters: Meters,
    prices: HashMap<MeterKey, Vec<Price>>,
    uncharged: HashSet<MeterKey>,
    currency: Currency,
}

/// A line, and what statements know it by.
pub(crate) struct RatedLine {
    pub(crate) key: BilledKey,
    pub(crate) line: CostLine,
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
    pub(crate) fn new(meters: Meters, PriceList { prices, uncharged }: PriceList, currency: Currency) -> Self {
        let mut by_meter: HashMap<MeterKey, Vec<Price>> = HashMap::new();
        for price in prices {
            by_meter.entry(price.meter).or_default().push(price);
        }
        Self { meters, prices: by_meter, uncharged, currency }
    }

    pub(crate) fn currency(&self) -> Currency {
        self.currency
    }

    /// The lines of a part of a bill, in order. `billed` has lines even where nothing was used.
    pub(crate) fn lines<'a>(
        &self,
        part: &CostPart,
        billed: impl IntoIterator<Item = &'a BilledKey>,
    ) -> Result<Vec<RatedLine>, StoreError> {
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
        for key in billed {
            let tenant = tenants.get(&key.tenant).ok_or_else(|| StoreError::corrupt("a bill of another tenant"))?;
            let meter = self.meters.position(key.meter)?;
            usage.entry((key.month, *tenant, meter, key.billing_region)).or_default();
        }
        let lines = usage.into_iter().filter_map(|((month, tenant, meter, region), usage)| {
            let (key, meter) = self.meters.at(meter)?;
            let CostTenant { key: tenant_key, id, name, plan } = part.tenants.get(tenant)?;
            let billed_key = BilledKey { month, tenant: *tenant_key, meter: *key, billing_region: region };
            let (tiers, cost, rounding) = match self.rating(*key, region, month, &usage.billable) {
                Some(rating) => (rating.tiers, Some(rating.cost), rating.rounding),
                None => (Vec::new(), None, None),
            };
            let line = CostLine {
                month,
                tenant_id: *id,
                tenant_name: name.clone(),
                plan: plan.clone(),
                meter: std::sync::Arc::clone(meter),
                billing_region: region,
                quantity: usage.billable,
                trial_quantity: usage.trial,
                is_charged: !self.uncharged.contains(key),
                tiers,
                cost,
                rounding,
                record_count: usage.record_count,
            };
            Some(RatedLine { key: billed_key, line })
        });
        Ok(lines.collect())
    }

    /// What a quantity costs before rounding; `None`: no price covers it.
    pub(crate) fn exact_cost(
        &self,
        meter: MeterKey,
        region: BillingRegion,
        month: Month,
        billable: &BigDecimal,
    ) -> Option<BigDecimal> {
        self.rating(meter, region, month, billable).map(|rating| rating.exact_cost())
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// `None`: no price covers it.
    fn rating(&self, meter: MeterKey, region: BillingRegion, month: Month, billable: &BigDecimal) -> Option<Rating> {
        if self.uncharged.contains(&meter) {
            return Some(Rating::nothing(self.currency));
        }
        match self.prices.get(&meter).and_then(|prices| effective_price(prices, region, month)) {
            Some(price) => Some(rate(billable, &price.pricing, self.currency)),
            // A zero quantity needs no price.
            None => billable.is_zero().then(|| Rating::nothing(self.currency)),
        }
    }
}

/// The reports that a part of a bill comes from, without the days that are missing.
pub(crate) fn tenant_months(part: &CostPart) -> HashMap<(Month, TenantId), TenantMonth> {
    let ids: HashMap<TenantKey, TenantId> = part.tenants.iter().map(|tenant| (tenant.key, tenant.id)).collect();
    let reports = part.months.iter().filter_map(|stored| {
        let (month, tenant_id) = (stored.month, *ids.get(&stored.tenant)?);
        let (revision, data_as_of) = (Revision(stored.revision), Some(stored.data_as_of));
        let missing_days = Vec::new();
        Some(((month, tenant_id), TenantMonth { month, tenant_id, revision, data_as_of, missing_days }))
    });
    reports.collect()
}
