//! What a comparison must be for the request that it answers.

use bigdecimal::{BigDecimal, Zero as _};

use super::{BillQuery, CompareQuery};
use crate::{
    client::{ClientError, exact::exact},
    contract::proto::{
        BillState, ComparedLine, ComparedSide, ComparisonHeader, ComparisonKind, ComparisonSummary, MovedAsset,
    },
    model::{Currency, TenantId, UtcTime},
};

/// A comparison, as far as it was read.
pub(super) struct ComparisonCheck<'a> {
    query: &'a CompareQuery,
    /// By kind: unchanged, changed, new, vanished.
    counts: [i64; 4],
    unpriced: [i64; 2],
    sums: Amounts,
    has_assets: bool,
}

/// Costs of base and target, and the effects of usage, price and rounding.
#[derive(Default)]
struct Amounts([BigDecimal; 5]);

// === impl Amounts ===

impl Amounts {
    /// A cost that is empty is nothing.
    fn read(costs: [&str; 2], effects: [&str; 3]) -> Result<Self, ClientError> {
        let amount = |text: &str| exact(text).ok_or_else(|| ClientError::malformed("amount", text));
        let cost = |text: &str| if text.is_empty() { Ok(BigDecimal::zero()) } else { amount(text) };
        let [base, target] = costs;
        let [usage, price, rounding] = effects;
        Ok(Self([cost(base)?, cost(target)?, amount(usage)?, amount(price)?, amount(rounding)?]))
    }

    fn add_up(&self) -> bool {
        let [base, target, usage, price, rounding] = &self.0;
        target - base == usage + price + rounding
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, amount)| *sum += amount);
    }
}

// === impl ComparisonCheck ===

impl<'a> ComparisonCheck<'a> {
    pub(super) fn new(query: &'a CompareQuery) -> Self {
        Self { query, counts: [0; 4], unpriced: [0; 2], sums: Amounts::default(), has_assets: false }
    }

    pub(super) fn header(&self, header: &ComparisonHeader) -> Result<(), ClientError> {
        if header.organization_id != self.query.organization_id.to_string() {
            return Err(ClientError::wrong(format!("it is of organization {:?}", header.organization_id)));
        }
        header.currency.parse::<Currency>().map_err(|_| ClientError::malformed("currency", &header.currency))?;
        let base = check_side("base", &self.query.base, header.base.as_ref())?;
        let target = check_side("target", &self.query.target, header.target.as_ref())?;
        if self.query.base.as_of.is_none() && self.query.target.as_of.is_none() && base != target {
            return Err(ClientError::wrong("its bills are of two moments"));
        }
        Ok(())
    }

    pub(super) fn line(&mut self, last: Option<&ComparedLine>, line: &ComparedLine) -> Result<(), ClientError> {
        self.check_tenant(&line.tenant_id)?;
        if last.is_some_and(|last| position(last) >= position(line)) {
            return Err(ClientError::wrong("its lines are not in order, or come twice"));
        }
        if self.has_assets {
            return Err(ClientError::wrong("a line is behind assets"));
        }
        let costs = [line.base_cost.as_str(), &line.target_cost];
        let effects = [line.usage_effect.as_str(), &line.price_effect, &line.rounding_effect];
        let amounts = Amounts::read(costs, effects)?;
        if !amounts.add_up() {
            return Err(ClientError::wrong("the effects of a line do not add up to the difference of its costs"));
        }
        let unpriced = [line.base_unpriced, line.target_unpriced];
        if line.target_cost.is_empty() != line.target_unpriced || (line.base_cost.is_empty() && !line.base_unpriced) {
            return Err(ClientError::wrong("a line without a price does not say so"));
        }
        self.counts[check_kind(line, &amounts)?] += 1;
        self.unpriced.iter_mut().zip(unpriced).for_each(|(count, unpriced)| *count += i64::from(unpriced));
        self.sums.add(&amounts);
        Ok(())
    }

    pub(super) fn asset(&mut self, last: Option<&MovedAsset>, asset: &MovedAsset) -> Result<(), ClientError> {
        self.check_tenant(&asset.tenant_id)?;
        let amount = |text: &str| exact(text).ok_or_else(|| ClientError::malformed("amount", text));
        let difference = amount(&asset.difference)?;
        if amount(&asset.target_cost)? - amount(&asset.base_cost)? != difference || difference.is_zero() {
            return Err(ClientError::wrong("an asset does not differ as it says"));
        }
        let last = last.map(|last| amount(&last.difference)).transpose()?;
        if last.is_some_and(|last| last.abs() < difference.abs()) {
            return Err(ClientError::wrong("its assets are not in order"));
        }
        self.has_assets = true;
        Ok(())
    }

    pub(super) fn summary(&self, summary: &ComparisonSummary, asset_count: usize) -> Result<(), ClientError> {
        let counts = [summary.unchanged_count, summary.changed_count, summary.new_count, summary.vanished_count];
        let unpriced = [summary.base_unpriced_count, summary.target_unpriced_count];
        if (counts, unpriced) != (self.counts, self.unpriced) {
            return Err(ClientError::wrong("its summary counts other lines"));
        }
        let costs = [summary.base_cost.as_str(), &summary.target_cost];
        let effects = [summary.usage_effect.as_str(), &summary.price_effect, &summary.rounding_effect];
        if Amounts::read(costs, effects)?.0 != self.sums.0 {
            return Err(ClientError::wrong("its lines do not add up to its summary"));
        }
        if asset_count > usize::from(self.query.top_assets) || (asset_count > 0 && summary.assets_left_out != 0) {
            return Err(ClientError::wrong("it has more assets than it should"));
        }
        Ok(())
    }

    fn check_tenant(&self, id: &str) -> Result<(), ClientError> {
        let tenant: TenantId = id.parse().map_err(|_| ClientError::malformed("tenant_id", id))?;
        if self.query.tenant_id.is_some_and(|asked| asked != tenant) {
            return Err(ClientError::wrong(format!("a line is of tenant {tenant}")));
        }
        Ok(())
    }
}

/// The moment of a side.
fn check_side(name: &str, asked: &BillQuery, side: Option<&ComparedSide>) -> Result<UtcTime, ClientError> {
    let side = side.ok_or_else(|| ClientError::Malformed(format!("header: it has no {name}")))?;
    if side.month != Some(asked.month.into()) {
        return Err(ClientError::wrong(format!("its {name} is of another month")));
    }
    let as_of = side.as_of.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok());
    let as_of = as_of.ok_or_else(|| ClientError::malformed("as_of", side.as_of))?;
    if asked.as_of.is_some_and(|asked| asked != as_of) {
        return Err(ClientError::wrong(format!("its {name} is as of {as_of}")));
    }
    let has_statement = !side.statement_number.is_empty();
    if has_statement && (asked.current || side.state() != BillState::Closed) {
        return Err(ClientError::wrong(format!("its {name} has the statement {:?}", side.statement_number)));
    }
    if side.draft != asked.draft.is_some() {
        return Err(ClientError::wrong(format!("its {name} is rated by another price list")));
    }
    Ok(as_of)
}

/// Where a line stands in the order.
fn position(line: &ComparedLine) -> ([&str; 3], i32) {
    ([&line.tenant_name, &line.tenant_id, &line.meter_name], line.billing_region)
}

/// The position of the kind of a line, if it is of that kind.
fn check_kind(line: &ComparedLine, amounts: &Amounts) -> Result<usize, ClientError> {
    let quantity = |text: &str| exact(text).ok_or_else(|| ClientError::malformed("quantity", text));
    let quantities = [quantity(&line.base_quantity)?, quantity(&line.target_quantity)?];
    let is_nothing = |side: usize| quantities[side].is_zero() && amounts.0[side].is_zero();
    let is_same = quantities[0] == quantities[1] && line.base_cost == line.target_cost;
    let (index, fits) = match line.kind() {
        ComparisonKind::Unchanged => (0, is_same && amounts.0[2..].iter().all(BigDecimal::is_zero)),
        ComparisonKind::Changed => (1, true),
        ComparisonKind::New => (2, is_nothing(0)),
        ComparisonKind::Vanished => (3, is_nothing(1)),
        ComparisonKind::Unspecified => return Err(ClientError::malformed("kind", line.kind)),
    };
    if fits { Ok(index) } else { Err(ClientError::wrong("a line has not changed as it says")) }
}
