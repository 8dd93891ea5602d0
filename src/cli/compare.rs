//! `costs compare`.

mod draft;
mod json;
mod table;

use bigdecimal::BigDecimal;

use super::{
    CommandError,
    args::{CompareArgs, Format, SideArgs},
    output::{Rows, month, note, print_json, region},
    tenants::connect,
};
use crate::{
    client::{BillQuery, CompareQuery, CostComparison},
    contract::proto::{AssetsLeftOut, ComparedLine, ComparedSide, ComparisonKind},
    model::{UtcTime, printable},
};

/// How many lines without a price are named.
const WARNINGS: usize = 10;

/// A comparison, with what its lines show of its header.
struct Pair {
    months: [String; 2],
    currency: String,
    comparison: CostComparison,
}

/// Costs of base and target, and the effects of usage, price and rounding.
#[derive(Default)]
struct Sums([BigDecimal; 5]);

pub(super) async fn run(args: CompareArgs) -> Result<(), CommandError> {
    let draft = match &args.prices {
        Some(path) => Some(draft::read(path).await?),
        None => None,
    };
    let months = args.months()?;
    let mut client = connect(&args.server).await?;
    let organization_id = client.find_organization(&args.organization).await?;
    let tenant_id = match &args.tenant {
        Some(tenant) => Some(client.find_tenant_of(organization_id, tenant).await?),
        None => None,
    };
    let mut sides = args.sides();
    let mut pairs = Vec::with_capacity(months.len());
    for (base, target) in months {
        let bill = |month, side: SideArgs| BillQuery { month, as_of: side.as_of, current: side.current, draft: None };
        let comparison = client
            .compare_costs(&CompareQuery {
                organization_id,
                tenant_id,
                base: bill(base, sides[0]),
                target: BillQuery { draft: draft.clone(), ..bill(target, sides[1]) },
                top_assets: if args.format == Format::Csv { 0 } else { args.top },
            })
            .await?;
        let pair = Pair::new(comparison);
        // All months are of one moment.
        for (side, found) in sides.iter_mut().zip(pair.sides()) {
            side.as_of = side.as_of.or_else(|| as_of(&found));
        }
        pairs.push(pair);
    }
    match args.format {
        Format::Table => table::print(&pairs)?,
        Format::Csv => print_csv(&pairs)?,
        Format::Json => print_json(&json::to_json(organization_id, &pairs))?,
    }
    pairs.iter().for_each(Pair::warn);
    Ok(())
}

fn as_of(side: &ComparedSide) -> Option<UtcTime> {
    side.as_of.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok())
}

// === impl Pair ===

impl Pair {
    fn new(comparison: CostComparison) -> Self {
        let header = &comparison.header;
        let currency = header.currency.clone();
        let of = |side: &Option<ComparedSide>| month(side.as_ref().and_then(|side| side.month));
        Self { months: [of(&header.base), of(&header.target)], currency, comparison }
    }

    fn sides(&self) -> [ComparedSide; 2] {
        let header = &self.comparison.header;
        [header.base.clone().unwrap_or_default(), header.target.clone().unwrap_or_default()]
    }

    fn sums(&self) -> Sums {
        let summary = &self.comparison.summary;
        Sums::read([
            &summary.base_cost,
            &summary.target_cost,
            &summary.usage_effect,
            &summary.price_effect,
            &summary.rounding_effect,
        ])
    }

    /// Warns on standard error about what counts as nothing, and about assets that are not named.
    fn warn(&self) {
        let summary = &self.comparison.summary;
        let lines = || self.comparison.lines.iter().filter(|line| line.base_unpriced || line.target_unpriced);
        for line in lines().take(WARNINGS) {
            let (side, month) =
                if line.target_unpriced { ("target", &self.months[1]) } else { ("base", &self.months[0]) };
            note(&format!(
                "warning: no price of the {side} in {} covers {} in {} ({month}, tenant {}); it counts as nothing",
                printable(&self.currency),
                printable(&line.meter_name),
                region(line.billing_region),
                line.tenant_id
            ));
        }
        let more = lines().count().saturating_sub(WARNINGS);
        if more > 0 {
            note(&format!("warning: {more} lines more have no price"));
        }
        let [_, target] = &self.months;
        match summary.assets_left_out() {
            AssetsLeftOut::Unspecified => {}
            AssetsLeftOut::Purged => note(&format!("note: the assets of {target} are not named: records were purged")),
            AssetsLeftOut::Overloaded => {
                note(&format!("note: the assets of {target} are not named: the server was too busy; ask again later"));
            }
            AssetsLeftOut::TooMany => note(&format!("note: the assets of {target} are not named: there are too many")),
        }
    }
}

// === impl Sums ===

impl Sums {
    /// The client has seen to it that they are numbers.
    fn read(amounts: [&String; 5]) -> Self {
        Self(amounts.map(|text| text.parse().unwrap_or_default()))
    }

    /// Of all pairs.
    fn total(pairs: &[Pair]) -> Self {
        let mut total = Self::default();
        for pair in pairs {
            total.0.iter_mut().zip(pair.sums().0).for_each(|(sum, amount)| *sum += amount);
        }
        total
    }

    /// Costs with the digits of their currency, effects without trailing zeros.
    fn texts(&self) -> [String; 5] {
        let [base, target, effects @ ..] = &self.0;
        let [usage, price, rounding] = effects.each_ref().map(crate::model::plain);
        [base.to_plain_string(), target.to_plain_string(), usage, price, rounding]
    }
}

fn kind(line: &ComparedLine) -> &'static str {
    match line.kind() {
        ComparisonKind::Unspecified => "?",
        ComparisonKind::Unchanged => "UNCHANGED",
        ComparisonKind::Changed => "CHANGED",
        ComparisonKind::New => "NEW",
        ComparisonKind::Vanished => "VANISHED",
    }
}

fn print_csv(pairs: &[Pair]) -> Result<(), CommandError> {
    let headers = vec![
        "baseMonth",
        "targetMonth",
        "organizationId",
        "tenantId",
        "tenantName",
        "plan",
        "meterName",
        "meterId",
        "unit",
        "billingRegion",
        "kind",
        "baseQuantity",
        "targetQuantity",
        "baseCost",
        "targetCost",
        "usageEffect",
        "priceEffect",
        "roundingEffect",
        "currency",
        "baseUnpriced",
        "targetUnpriced",
    ];
    let flag = |is: bool| if is { "TRUE" } else { "FALSE" }.to_owned();
    let rows = pairs.iter().flat_map(|pair| {
        pair.comparison.lines.iter().map(|line| {
            let [base_month, target_month] = pair.months.clone();
            vec![
                base_month,
                target_month,
                pair.comparison.header.organization_id.clone(),
                line.tenant_id.clone(),
                line.tenant_name.clone(),
                line.plan.clone(),
                line.meter_name.clone(),
                line.meter_id.clone(),
                line.unit.clone(),
                region(line.billing_region).to_owned(),
                kind(line).to_owned(),
                line.base_quantity.clone(),
                line.target_quantity.clone(),
                line.base_cost.clone(),
                line.target_cost.clone(),
                line.usage_effect.clone(),
                line.price_effect.clone(),
                line.rounding_effect.clone(),
                pair.currency.clone(),
                flag(line.base_unpriced),
                flag(line.target_unpriced),
            ]
        })
    });
    Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
}
