//! Random catalogs, months and corrections, against a reference in exact fractions.

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::{prelude::*, test_runner::TestRunner};
use secure_connect_reports::contract::proto::{
    CompareCostsRequest, ComparisonKind, CostBasis, CostSide, DraftMeter, DraftPrice, DraftTier, PriceListDraft,
    RoundingMode,
};

use super::compare;
use crate::{
    properties::cost_of,
    statements::books::{Books, amount, month, present},
    support::{
        Database,
        builder::{Row, csv},
    },
};

const CASES: u32 = 24;
const MONTHS: [&str; 3] = ["2022-01", "2022-02", "2022-03"];
const REGIONS: [&str; 2] = ["EU", "NA"];

/// Meter, region, whether on trial, and hundredths.
type Usage = (usize, usize, bool, u32);
/// Tenant and month.
type Load = (usize, usize);
/// Meter, region (none: all) and first month.
type Place = (usize, Option<usize>, usize);
/// The end of the first tier, in hundredths, the prices of both, in ten-thousandths, and whether to round to even.
type Tiers = (u32, u32, u32, bool);
/// Prices, and whether meters are charged.
type Draft = (Vec<(Place, Tiers)>, Vec<(usize, bool)>);
/// Tenant, meter and region.
type Line = (usize, usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Deliver(Load, Vec<Usage>),
    Price(Place, Tiers),
    Charge(usize, bool),
    /// Looks at what is there, to be compared later.
    Look,
    Close,
}

#[derive(Clone, Debug)]
struct Plan {
    steps: Vec<Step>,
    /// What a draft says: prices, and meters.
    draft: Draft,
    months: [usize; 2],
    bases: [bool; 2],
    /// Which of the moments that were looked at; past the last: now.
    moments: [usize; 2],
    drafted: Option<usize>,
}

/// What the organization has at a moment.
#[derive(Clone, Debug, Default)]
struct State {
    usage: BTreeMap<Load, Vec<Usage>>,
    prices: BTreeMap<Place, Tiers>,
    uncharged: BTreeSet<usize>,
    /// Statements, each with what was there when it was made; and the last month that is closed.
    closed: BTreeMap<usize, State>,
    closed_until: Option<usize>,
}

fn steps() -> impl Strategy<Value = Plan> {
    let usage = (0..2_usize, 0..2_usize, prop::bool::weighted(0.15), 0..60_000_u32);
    let load = (0..2_usize, 0..3_usize);
    let place = || (0..2_usize, prop::option::weighted(0.3, 0..2_usize), 0..3_usize);
    let tiers = || (1..30_000_u32, 0..9_999_u32, 0..9_999_u32, any::<bool>());
    let step = prop_oneof![
        6 => (load, prop::collection::vec(usage, 1..4)).prop_map(|(load, usage)| Step::Deliver(load, usage)),
        4 => (place(), tiers()).prop_map(|(place, tiers)| Step::Price(place, tiers)),
        1 => (0..2_usize, any::<bool>()).prop_map(|(meter, charged)| Step::Charge(meter, charged)),
        2 => Just(Step::Look),
        2 => Just(Step::Close),
    ];
    let draft = (
        prop::collection::btree_map(place(), tiers(), 0..4).prop_map(|prices| prices.into_iter().collect()),
        prop::collection::btree_map(0..2_usize, any::<bool>(), 0..2).prop_map(|meters| meters.into_iter().collect()),
    );
    let months = prop_oneof![Just([0, 1]), Just([1, 2]), Just([1, 1]), Just([2, 0]), Just([0, 0])];
    (
        prop::collection::vec(step, 6..24),
        draft,
        months,
        any::<[bool; 2]>(),
        [0..4_usize, 0..4_usize],
        prop::option::weighted(0.4, 0..2_usize),
    )
        .prop_map(|(steps, draft, months, bases, moments, drafted)| Plan {
            steps,
            draft,
            months,
            bases,
            moments,
            drafted,
        })
}

fn fraction(number: i64, power: u32) -> BigRational {
    BigRational::new(number.into(), BigInt::from(10).pow(power))
}

// === impl State ===

impl State {
    fn price(&self, meter: usize, region: usize, month: usize) -> Option<&Tiers> {
        [Some(region), None]
            .into_iter()
            .find_map(|region| (0..=month).rev().find_map(|from| self.prices.get(&(meter, region, from))))
    }

    /// Hundredths of each line of a month; usage on trial has lines, too.
    fn quantities(&self, month: usize) -> BTreeMap<Line, i64> {
        let mut quantities: BTreeMap<Line, i64> = BTreeMap::new();
        for ((tenant, _), usage) in self.usage.iter().filter(|((_, of), _)| *of == month) {
            for &(meter, region, trial, hundredths) in usage {
                *quantities.entry((*tenant, meter, region)).or_default() += if trial { 0 } else { hundredths.into() };
            }
        }
        quantities
    }

    /// Before rounding; `None`: no price covers it.
    fn exact(&self, (_, meter, region): Line, month: usize, hundredths: i64) -> Option<BigRational> {
        if self.uncharged.contains(&meter) || hundredths == 0 {
            return Some(fraction(0, 0));
        }
        let (end, first, second, _) = self.price(meter, region, month)?;
        let below = hundredths.min(i64::from(*end));
        Some(
            fraction(below, 2) * fraction(i64::from(*first), 4)
                + fraction(hundredths - below, 2) * fraction(i64::from(*second), 4),
        )
    }

    /// Rounded; empty: no price covers it.
    fn cost(&self, line: Line, month: usize, hundredths: i64) -> String {
        let (_, meter, region) = line;
        if self.uncharged.contains(&meter) || hundredths == 0 {
            return "0.00".to_owned();
        }
        let Some((end, first, second, half_even)) = self.price(meter, region, month) else { return String::new() };
        let mode = if *half_even { RoundingMode::HalfEven } else { RoundingMode::HalfAwayFromZero };
        let tiers = [
            (Some(fraction(i64::from(*end), 2)), fraction(i64::from(*first), 4)),
            (None, fraction(i64::from(*second), 4)),
        ];
        cost_of(&format!("{}.{:02}", hundredths / 100, hundredths % 100), &tiers, 2, mode)
    }

    /// The state whose usage and prices a bill has, and the lines that it has.
    fn bill(&self, month: usize, current: bool) -> (State, BTreeMap<Line, i64>) {
        match self.closed.get(&month) {
            Some(statement) if !current => (statement.clone(), statement.quantities(month)),
            // It was closed without usage.
            None if !current && Some(month) <= self.closed_until => (self.clone(), BTreeMap::new()),
            _ => (self.clone(), self.quantities(month)),
        }
    }

    fn apply(&mut self, (prices, meters): &Draft) {
        self.prices.extend(prices.iter().copied());
        for &(meter, charged) in meters {
            if charged {
                self.uncharged.remove(&meter);
            } else {
                self.uncharged.insert(meter);
            }
        }
    }
}

/// The organization of a case, with tenants and meters of its own.
struct Case<'a> {
    books: &'a Books,
    number: u32,
}

impl Case<'_> {
    fn organization(&self) -> String {
        format!("aaaaaaaa-2000-4000-8000-{:012}", self.number)
    }

    fn tenant(&self, n: usize) -> String {
        format!("bbbbbbbb-{n:04}-4000-a000-{:012}", self.number)
    }

    fn meter(&self, n: usize) -> (String, String) {
        (format!("compared {n} of {}", self.number), format!("cccccccc-{n:04}-4000-a000-{:012}", self.number))
    }

    fn catalog(&self, uncharged: &BTreeSet<usize>) -> String {
        let organization = self.organization();
        let mut catalog =
            format!("[[organizations]]\nid = \"{organization}\"\nname = \"o {}\"\ncurrency = \"USD\"\n", self.number);
        for n in 0..2 {
            let (name, id) = self.meter(n);
            catalog += &format!(
                "[[tenants]]\nid = \"{}\"\norganization_id = \"{organization}\"\nname = \"{n}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n\
                 [[meters]]\nid = \"{id}\"\nname = \"{name}\"\nunit = \"hour\"\ncharged = {}\n",
                self.tenant(n),
                !uncharged.contains(&n)
            );
        }
        catalog
    }

    fn price(&self, (meter, region, from): Place, (end, first, second, half_even): Tiers) -> String {
        let region = region.map(|region| format!("billing_region = \"{}\"\n", REGIONS[region])).unwrap_or_default();
        format!(
            "[[prices]]\nmeter = \"{}\"\ncurrency = \"USD\"\n{region}effective_from = \"{}\"\nrounding = \"{}\"\n\
             tiers = [{{ up_to = \"{}.{:02}\", unit_price = \"0.{first:04}\" }}, {{ unit_price = \"0.{second:04}\" }}]\n",
            self.meter(meter).0,
            MONTHS[from],
            if half_even { "half_even" } else { "half_away_from_zero" },
            end / 100,
            end % 100
        )
    }

    fn draft(&self, (prices, meters): &Draft) -> PriceListDraft {
        let price = |&((meter, region, from), (end, first, second, half_even)): &(Place, Tiers)| DraftPrice {
            meter: self.meter(meter).0,
            currency: "USD".to_owned(),
            billing_region: region.map_or(0, |region| [3, 4][region]),
            effective_from: month(MONTHS[from]),
            pricing_model: 0,
            rounding: if half_even { RoundingMode::HalfEven } else { RoundingMode::HalfAwayFromZero }.into(),
            tiers: vec![
                DraftTier { up_to: format!("{}.{:02}", end / 100, end % 100), unit_price: format!("0.{first:04}") },
                DraftTier { up_to: String::new(), unit_price: format!("0.{second:04}") },
            ],
        };
        let meter = |&(meter, charged): &(usize, bool)| DraftMeter { meter: self.meter(meter).0, charged };
        PriceListDraft { prices: prices.iter().map(price).collect(), meters: meters.iter().map(meter).collect() }
    }

    /// A load is all usage of a tenant's month.
    async fn deliver(&self, (tenant, month): Load, usage: &[Usage]) {
        let rows = usage.iter().enumerate().map(|(n, &(meter, region, trial, hundredths))| {
            let (name, id) = self.meter(meter);
            Row::on(&format!("{}-07", MONTHS[month]), &format!("{}.{:02}", hundredths / 100, hundredths % 100))
                .of(&self.organization(), &self.tenant(tenant))
                .asset(&n.to_string())
                .with("meterName", &name)
                .with("meterId", &id)
                .with("billingRegion", REGIONS[region])
                .with("trial", if trial { "TRUE" } else { "FALSE" })
        });
        self.books.database.import(&csv(&rows.collect::<Vec<_>>())).await;
    }
}

async fn run(case: &Case<'_>, plan: &Plan) -> Result<(), TestCaseError> {
    let database = &case.books.database;
    let mut state = State::default();
    database.apply(&case.catalog(&state.uncharged)).await;
    let mut seen: Vec<(prost_types::Timestamp, State)> = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Deliver(load, usage) => {
                case.deliver(*load, usage).await;
                state.usage.insert(*load, usage.clone());
            }
            Step::Price(place, tiers) => {
                database.apply(&case.price(*place, *tiers)).await;
                state.prices.insert(*place, *tiers);
            }
            Step::Charge(meter, charged) => {
                state.apply(&(Vec::new(), vec![(*meter, *charged)]));
                database.apply(&case.catalog(&state.uncharged)).await;
            }
            Step::Look => seen.push((present(database).await, state.clone())),
            Step::Close => {
                let first = state.usage.keys().map(|&(_, month)| month).min();
                let next = state.closed_until.map(|until| until + 1).or(first);
                let Some(month) = next.filter(|&month| month < MONTHS.len()) else { continue };
                case.books.close_of(&case.organization(), MONTHS[month]).await;
                let statement = State { closed: BTreeMap::new(), ..state.clone() };
                state.closed.insert(month, statement);
                state.closed_until = Some(month);
            }
        }
    }
    let side = |side: usize| {
        let moment = seen.get(plan.moments[side]);
        let basis = if plan.bases[side] { CostBasis::Current } else { CostBasis::Bill };
        let is_drafted = plan.drafted == Some(side);
        let asked = CostSide {
            month: month(MONTHS[plan.months[side]]),
            as_of: moment.map(|(moment, _)| *moment),
            basis: basis.into(),
            draft: is_drafted.then(|| case.draft(&plan.draft)),
        };
        let of = moment.map_or(&state, |(_, state)| state);
        let (mut rated_by, quantities) = of.bill(plan.months[side], plan.bases[side]);
        if is_drafted {
            rated_by.apply(&plan.draft);
        }
        (asked, rated_by, quantities)
    };
    let ((base, base_state, base_lines), (target, target_state, target_lines)) = (side(0), side(1));
    let request = CompareCostsRequest {
        organization_id: case.organization(),
        base: Some(base),
        target: Some(target),
        top_assets: Some(100),
        ..CompareCostsRequest::default()
    };
    // That the lines add up to the summary is checked there.
    let compared = compare(&case.books.server, request).await;
    // All assets are named, so that their differences are that of the bills.
    let moved: BigDecimal = compared.assets.iter().map(|asset| amount(&asset.difference)).sum();
    prop_assert_eq!(moved, amount(&compared.summary.target_cost) - amount(&compared.summary.base_cost));
    let expected: BTreeSet<Line> = base_lines.keys().chain(target_lines.keys()).copied().collect();
    let mut found = Vec::new();
    for line in &compared.lines {
        let tenant = (0..2).find(|&n| case.tenant(n) == line.tenant_id).expect("a tenant");
        let meter = (0..2).find(|&n| case.meter(n).0 == line.meter_name).expect("a meter");
        let key = (tenant, meter, usize::from(line.billing_region == 4));
        found.push(key);
        let [base_month, target_month] = plan.months;
        let [before, after] = [&base_lines, &target_lines].map(|lines| lines.get(&key).copied().unwrap_or_default());
        prop_assert_eq!(hundredths(&line.base_quantity), fraction(before, 2));
        prop_assert_eq!(hundredths(&line.target_quantity), fraction(after, 2));
        let costs = [base_state.cost(key, base_month, before), target_state.cost(key, target_month, after)];
        prop_assert_eq!([&line.base_cost, &line.target_cost], [&costs[0], &costs[1]]);
        let exact = [
            base_state.exact(key, base_month, before),
            base_state.exact(key, base_month, after),
            target_state.exact(key, target_month, after),
        ];
        let unpriced = [exact[0].is_none() || exact[1].is_none(), exact[2].is_none()];
        prop_assert_eq!([line.base_unpriced, line.target_unpriced], unpriced);
        let [c_base, c_between, c_target] = exact.map(|cost| cost.unwrap_or_else(|| fraction(0, 0)));
        prop_assert_eq!(hundredths(&line.usage_effect), &c_between - &c_base);
        prop_assert_eq!(hundredths(&line.price_effect), &c_target - &c_between);
        let rounding = hundredths(&line.rounding_effect);
        prop_assert!(fraction(-1, 2) <= rounding && rounding <= fraction(1, 2));
        let is_same = before == after
            && costs[0] == costs[1]
            && c_base == c_between
            && c_between == c_target
            && rounding == fraction(0, 0);
        let kind = match (base_lines.contains_key(&key), target_lines.contains_key(&key)) {
            (true, true) if is_same => ComparisonKind::Unchanged,
            (true, true) => ComparisonKind::Changed,
            (true, false) => ComparisonKind::Vanished,
            (false, _) => ComparisonKind::New,
        };
        prop_assert_eq!(line.kind(), kind);
    }
    prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    Ok(())
}

fn hundredths(text: &str) -> BigRational {
    let (digits, scale) = amount(text).as_bigint_and_exponent();
    let scale = u32::try_from(scale).expect("no exponent");
    BigRational::new(digits, BigInt::from(10).pow(scale))
}

#[test]
fn effects_are_those_of_the_reference() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let database = Database::migrated();
    let server = database.serve();
    let books = Books { database, server };
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&steps(), |plan| {
        number.set(number.get() + 1);
        runtime.block_on(run(&Case { books: &books, number: number.get() }, &plan))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
