//! Checks every entry of a catalog file and reports every problem.

use std::{collections::HashMap, fmt::Display, hash::Hash, str::FromStr};

use super::{
    Catalog, InvalidCatalog, Meter, Organization, Price, Problem, Tenant,
    raw::{RawCatalog, RawMeter, RawOrganization, RawPrice, RawTenant, RawTier},
};
use crate::model::{Decimal, PriceTier, Pricing, PricingModel, RoundingMode};

const MAX_NAME_BYTES: usize = 256;
const MAX_WORD_BYTES: usize = 128;
const MAX_TIERS: usize = 100;

/// Collects problems, so that one run reports them all.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: impl Into<String>, reason: impl Display) {
        self.0.push(Problem { place: place.into(), reason: reason.to_string() });
    }

    /// Parses a field, or adds a problem.
    fn parse<T: FromStr<Err: Display>>(&mut self, entry: &str, field: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.add(format!("{entry}.{field}"), format!("{text:?}: {error}"))).ok()
    }

    /// A name that people read: not empty, no control characters.
    fn name(&mut self, entry: &str, field: &str, text: String, max: usize) -> Option<String> {
        let reason = if text.is_empty() {
            "must not be empty".to_owned()
        } else if text.len() > max {
            format!("has {} bytes; the maximum is {max}", text.len())
        } else if text.chars().any(char::is_control) {
            "contains a control character".to_owned()
        } else {
            return Some(text);
        };
        self.add(format!("{entry}.{field}"), reason);
        None
    }
}

/// Finds duplicate entries.
struct Duplicates<K>(HashMap<K, String>);

impl<K: Eq + Hash> Duplicates<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn check(&mut self, key: K, entry: &str, what: &str, problems: &mut Problems) {
        if let Some(first) = self.0.get(&key) {
            problems.add(entry, format!("has the same {what} as {first}"));
        } else {
            self.0.insert(key, entry.to_owned());
        }
    }
}

pub(super) fn check(raw: RawCatalog) -> Result<Catalog, InvalidCatalog> {
    let mut problems = Problems::default();
    let catalog = Catalog {
        organizations: organizations(raw.organizations, &mut problems),
        tenants: tenants(raw.tenants, &mut problems),
        meters: meters(raw.meters, &mut problems),
        prices: prices(raw.prices, &mut problems),
    };
    if problems.0.is_empty() { Ok(catalog) } else { Err(InvalidCatalog(problems.0)) }
}

/// Checks prices by themselves, as those of a file.
pub(super) fn check_prices(raw: Vec<RawPrice>) -> Result<Vec<Price>, InvalidCatalog> {
    let mut problems = Problems::default();
    let prices = prices(raw, &mut problems);
    if problems.0.is_empty() { Ok(prices) } else { Err(InvalidCatalog(problems.0)) }
}

fn organizations(raw: Vec<RawOrganization>, problems: &mut Problems) -> Vec<Organization> {
    let mut seen = Duplicates::new();
    let parsed = raw.into_iter().enumerate().filter_map(|(index, raw)| {
        let entry = format!("organizations[{index}]");
        let id = problems.parse(&entry, "id", &raw.id);
        let name = problems.name(&entry, "name", raw.name, MAX_NAME_BYTES);
        let currency = problems.parse(&entry, "currency", &raw.currency);
        seen.check(id?, &entry, "id", problems);
        Some(Organization { id: id?, name: name?, currency: currency? })
    });
    parsed.collect()
}

fn tenants(raw: Vec<RawTenant>, problems: &mut Problems) -> Vec<Tenant> {
    let mut seen = Duplicates::new();
    let parsed = raw.into_iter().enumerate().filter_map(|(index, raw)| {
        let entry = format!("tenants[{index}]");
        let id = problems.parse(&entry, "id", &raw.id);
        let organization_id = problems.parse(&entry, "organization_id", &raw.organization_id);
        let name = problems.name(&entry, "name", raw.name, MAX_NAME_BYTES);
        let plan = problems.name(&entry, "plan", raw.plan, MAX_WORD_BYTES);
        let status = problems.parse(&entry, "status", &raw.status);
        let trial_expiry = match raw.trial_expiry {
            None => Some(None),
            Some(text) => problems.parse(&entry, "trial_expiry", &text).map(Some),
        };
        seen.check(id?, &entry, "id", problems);
        Some(Tenant {
            id: id?,
            organization_id: organization_id?,
            name: name?,
            plan: plan?,
            status: status?,
            trial: raw.trial,
            trial_expiry: trial_expiry?,
        })
    });
    parsed.collect()
}

fn meters(raw: Vec<RawMeter>, problems: &mut Problems) -> Vec<Meter> {
    let mut ids = Duplicates::new();
    let mut names = Duplicates::new();
    let parsed = raw.into_iter().enumerate().filter_map(|(index, raw)| {
        let entry = format!("meters[{index}]");
        let id = problems.parse(&entry, "id", &raw.id);
        let name = problems.name(&entry, "name", raw.name, MAX_WORD_BYTES);
        let unit = problems.name(&entry, "unit", raw.unit, MAX_WORD_BYTES);
        ids.check(id?, &entry, "id", problems);
        names.check(name.clone()?, &entry, "name", problems);
        Some(Meter { id: id?, name: name?, unit: unit?, charged: raw.charged })
    });
    parsed.collect()
}

fn prices(raw: Vec<RawPrice>, problems: &mut Problems) -> Vec<Price> {
    let mut seen = Duplicates::new();
    let parsed = raw.into_iter().enumerate().filter_map(|(index, raw)| {
        let entry = format!("prices[{index}]");
        let meter = problems.name(&entry, "meter", raw.meter.clone(), MAX_WORD_BYTES);
        let currency = problems.parse(&entry, "currency", &raw.currency);
        let billing_region = match &raw.billing_region {
            None => Some(None),
            Some(text) => problems.parse(&entry, "billing_region", text).map(Some),
        };
        let effective_from = problems.parse(&entry, "effective_from", &raw.effective_from);
        let pricing = pricing(&entry, &raw, problems);
        let key = (meter.clone()?, currency?, billing_region?, effective_from?);
        seen.check(key, &entry, "meter, currency, billing_region and effective_from", problems);
        Some(Price {
            meter: meter?,
            currency: currency?,
            billing_region: billing_region?,
            effective_from: effective_from?,
            pricing: pricing?,
        })
    });
    parsed.collect()
}

/// The model is graduated and the rounding half away from zero, unless the price says otherwise.
fn pricing(entry: &str, raw: &RawPrice, problems: &mut Problems) -> Option<Pricing> {
    let rounding = match &raw.rounding {
        None => Some(RoundingMode::default()),
        Some(text) => problems.parse(entry, "rounding", text),
    };
    let tiers = tiers(entry, &raw.tiers, problems);
    let name = raw.pricing_model.as_deref().unwrap_or(PricingModel::GRADUATED);
    let model = PricingModel::named(name, tiers.unwrap_or_default());
    let model = model.map_err(|error| problems.add(format!("{entry}.pricing_model"), format!("{name:?}: {error}")));
    Some(Pricing { model: model.ok()?, rounding: rounding? })
}

/// Tiers have increasing ends, and the last has none. So they have no gap, no overlap and no upper limit.
fn tiers(entry: &str, raw: &[RawTier], problems: &mut Problems) -> Option<Vec<PriceTier>> {
    let place = format!("{entry}.tiers");
    if raw.is_empty() {
        problems.add(place, "needs at least one tier");
        return None;
    }
    if raw.len() > MAX_TIERS {
        problems.add(place, format!("has {} tiers; the maximum is {MAX_TIERS}", raw.len()));
        return None;
    }
    let before = problems.0.len();
    let mut tiers = Vec::with_capacity(raw.len());
    let mut previous: Option<Decimal> = None;
    for (index, raw_tier) in raw.iter().enumerate() {
        let tier = format!("{place}[{index}]");
        let unit_price = problems.parse(&tier, "unit_price", &raw_tier.unit_price);
        let is_last = index + 1 == raw.len();
        let up_to: Option<Decimal> = raw_tier.up_to.as_deref().and_then(|text| problems.parse(&tier, "up_to", text));
        let field = format!("{tier}.up_to");
        match up_to {
            None if is_last || raw_tier.up_to.is_some() => {}
            None => problems.add(field, "is missing; only the last tier may omit it"),
            Some(_) if is_last => {
                problems.add(field, "must be omitted: the last tier has no end, so that all usage has a price");
            }
            Some(end) => {
                let start = previous.map_or_else(Default::default, Decimal::to_big);
                if end.to_big() <= start {
                    problems.add(field, format!("\"{end}\" is not above the tier's start, {start}"));
                }
                previous = Some(end);
            }
        }
        if let Some(unit_price) = unit_price {
            tiers.push(PriceTier { up_to, unit_price });
        }
    }
    (problems.0.len() == before).then_some(tiers)
}
