//! Random histories of an organization, against a reference that is slow and obvious: everything that was ever billed, in exact
//! fractions.

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::{prelude::*, test_runner::TestRunner};
use secure_connect_reports::{
    contract::proto::{
        CostLine, GetMonthlyCostsRequest, GetStatementResponse, RoundingMode, WithdrawUsageRequest,
        usage_import_service_client::UsageImportServiceClient,
    },
    statement::{ListDigest, canonical},
};

use super::books::{Books, amount, name, request};
use crate::{
    properties::cost_of,
    support::{
        Database,
        builder::{Row, csv},
    },
};

const CASES: u32 = 20;
const MONTHS: [&str; 5] = ["2022-01", "2022-02", "2022-03", "2022-04", "2022-05"];
const REGIONS: [&str; 2] = ["EU", "NA"];

/// A row: meter, region, whether on trial, and hundredths.
type Usage = (usize, usize, bool, u32);
/// The end of the first tier, in hundredths, and the prices of both, in ten-thousandths.
type Tiers = (u32, u32, u32);
/// Tenant, month and day.
type Day = (usize, usize, u32);

#[derive(Clone, Debug)]
enum Step {
    Deliver(Day, Vec<Usage>),
    Withdraw(Day),
    Price { meter: usize, region: Option<usize>, from: usize, tiers: Tiers, half_even: bool },
    Charge { meter: usize, charged: bool },
    Rename,
    Close,
}

/// What the organization has now, and all that was billed.
#[derive(Default)]
struct Reference {
    usage: BTreeMap<Day, Vec<Usage>>,
    prices: BTreeMap<(usize, Option<usize>, usize), (Tiers, bool)>,
    uncharged: BTreeSet<usize>,
    /// Months that something was ever delivered of.
    months: BTreeSet<usize>,
    /// By month of the usage, tenant, meter and region.
    billed: BTreeMap<Line, BigDecimal>,
    closed_until: Option<usize>,
}

type Line = (usize, usize, usize, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let day = || (0..2_usize, 0..3_usize, 1..4_u32);
    let usage = (0..2_usize, 0..2_usize, prop::bool::weighted(0.2), 0..100_000_u32);
    let tiers = (1..50_000_u32, 0..9_999_u32, 0..9_999_u32);
    let step = prop_oneof![
        6 => (day(), prop::collection::vec(usage, 1..4)).prop_map(|(day, usage)| Step::Deliver(day, usage)),
        1 => day().prop_map(Step::Withdraw),
        3 => (0..2_usize, prop::option::weighted(0.3, 0..2_usize), 0..3_usize, tiers, any::<bool>())
            .prop_map(|(meter, region, from, tiers, half_even)| Step::Price { meter, region, from, tiers, half_even }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(meter, charged)| Step::Charge { meter, charged }),
        1 => Just(Step::Rename),
        3 => Just(Step::Close),
    ];
    prop::collection::vec(step, 4..24)
}

// === impl Reference ===

impl Reference {
    fn price(&self, meter: usize, region: usize, month: usize) -> Option<&(Tiers, bool)> {
        [Some(region), None]
            .into_iter()
            .find_map(|region| (0..=month).rev().find_map(|from| self.prices.get(&(meter, region, from))))
    }

    /// What each line costs now; `None`: it has no price.
    fn costs(&self) -> BTreeMap<Line, Option<BigDecimal>> {
        let mut quantities: BTreeMap<Line, u64> = BTreeMap::new();
        for ((tenant, month, _), usage) in &self.usage {
            for &(meter, region, trial, hundredths) in usage {
                let quantity = quantities.entry((*month, *tenant, meter, region)).or_default();
                *quantity += if trial { 0 } else { u64::from(hundredths) };
            }
        }
        let costs = quantities.into_iter().map(|(line, hundredths)| {
            let (month, _, meter, region) = line;
            let exact = |units: u32, scale: u32| BigRational::new(units.into(), BigInt::from(10).pow(scale));
            let quantity = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let cost = match self.price(meter, region, month) {
                _ if self.uncharged.contains(&meter) || hundredths == 0 => Some("0.00".to_owned()),
                None => None,
                Some(((end, first, second), half_even)) => {
                    let tiers = [(Some(exact(*end, 2)), exact(*first, 4)), (None, exact(*second, 4))];
                    let mode = if *half_even { RoundingMode::HalfEven } else { RoundingMode::HalfAwayFromZero };
                    Some(cost_of(&quantity, &tiers, 2, mode))
                }
            };
            (line, cost.map(|cost| amount(&cost)))
        });
        costs.collect()
    }

    /// What the next statement has to adjust, of what is closed.
    fn adjustments(&self) -> BTreeMap<Line, BigDecimal> {
        let costs = self.costs();
        let lines: BTreeSet<Line> = costs.keys().chain(self.billed.keys()).copied().collect();
        let closed = lines.into_iter().filter(|line| Some(line.0) <= self.closed_until);
        let adjustments = closed.map(|line| {
            let cost = costs.get(&line).cloned().flatten().unwrap_or_default();
            (line, cost - self.billed.get(&line).cloned().unwrap_or_default())
        });
        adjustments.filter(|(_, amount)| *amount != BigDecimal::default()).collect()
    }

    /// The month that is closed next.
    fn next(&self) -> Option<usize> {
        match self.closed_until {
            Some(until) => Some(until + 1),
            None => self.months.first().copied(),
        }
    }

    fn close(&mut self, month: usize) {
        for (line, amount) in self.adjustments() {
            *self.billed.entry(line).or_default() += amount;
        }
        for (line, cost) in self.costs() {
            if line.0 == month {
                *self.billed.entry(line).or_default() += cost.unwrap_or_default();
            }
        }
        self.closed_until = Some(month);
    }
}

/// The organization of a case, with tenants and meters of its own.
struct Case<'a> {
    books: &'a Books,
    number: u32,
    names: u32,
}

impl Case<'_> {
    fn organization(&self) -> String {
        format!("aaaaaaaa-1000-4000-8000-{:012}", self.number)
    }

    fn tenant(&self, n: usize) -> String {
        format!("bbbbbbbb-{n:04}-4000-9000-{:012}", self.number)
    }

    fn meter(&self, n: usize) -> (String, String) {
        (format!("meter {n} of {}", self.number), format!("cccccccc-{n:04}-4000-9000-{:012}", self.number))
    }

    /// Organization, tenants and meters.
    fn catalog(&self, reference: &Reference) -> String {
        let mut catalog = format!(
            "[[organizations]]\nid = \"{}\"\nname = \"Organization {}\"\ncurrency = \"USD\"\n",
            self.organization(),
            self.names
        );
        for n in 0..2 {
            // In another order each time.
            let name = if self.names.is_multiple_of(2) { n } else { 1 - n };
            catalog.push_str(&format!(
                "[[tenants]]\nid = \"{}\"\norganization_id = \"{}\"\nname = \"{name} {}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n",
                self.tenant(n),
                self.organization(),
                self.names
            ));
            let (name, id) = self.meter(n);
            let charged = !reference.uncharged.contains(&n);
            catalog.push_str(&format!(
                "[[meters]]\nid = \"{id}\"\nname = \"{name}\"\nunit = \"hour\"\ncharged = {charged}\n"
            ));
        }
        catalog
    }

    fn price(
        &self,
        meter: usize,
        region: Option<usize>,
        from: usize,
        (end, first, second): Tiers,
        half_even: bool,
    ) -> String {
        let region = region.map(|region| format!("billing_region = \"{}\"\n", REGIONS[region])).unwrap_or_default();
        let rounding = if half_even { "half_even" } else { "half_away_from_zero" };
        format!(
            "[[prices]]\nmeter = \"{}\"\ncurrency = \"USD\"\n{region}effective_from = \"{}\"\nrounding = \"{rounding}\"\n\
             tiers = [{{ up_to = \"{}.{:02}\", unit_price = \"0.{first:04}\" }}, {{ unit_price = \"0.{second:04}\" }}]\n",
            self.meter(meter).0,
            MONTHS[from],
            end / 100,
            end % 100
        )
    }

    async fn deliver(&self, (tenant, month, day): Day, usage: &[Usage]) {
        let rows = usage.iter().enumerate().map(|(n, &(meter, region, trial, hundredths))| {
            let quantity = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let (name, id) = self.meter(meter);
            Row::on(&format!("{}-{day:02}", MONTHS[month]), &quantity)
                .of(&self.organization(), &self.tenant(tenant))
                .asset(&n.to_string())
                .with("meterName", &name)
                .with("meterId", &id)
                .with("billingRegion", REGIONS[region])
                .with("trial", if trial { "TRUE" } else { "FALSE" })
        });
        self.books.database.import(&csv(&rows.collect::<Vec<_>>())).await;
    }

    async fn withdraw(&self, (tenant, month, day): Day) {
        let channel = tonic::transport::Channel::from_shared(self.books.server.url()).unwrap().connect().await.unwrap();
        let request = WithdrawUsageRequest {
            tenant_id: self.tenant(tenant),
            usage_day: format!("{}-{day:02}", MONTHS[month]),
            source: String::new(),
        };
        UsageImportServiceClient::new(channel).withdraw_usage(request).await.expect("a withdrawal");
    }

    fn line(&self, line: &CostLine) -> Line {
        let month = MONTHS.iter().position(|month| *month == name(line.month)).expect("a month");
        let tenant = (0..2).find(|&n| self.tenant(n) == line.tenant_id).expect("a tenant");
        let meter = (0..2).find(|&n| self.meter(n).0 == line.meter_name).expect("a meter");
        let region = if line.billing_region == 3 { 0 } else { 1 };
        (month, tenant, meter, region)
    }

    async fn bill(&self, start: usize, end: usize) -> secure_connect_reports::contract::proto::GetMonthlyCostsResponse {
        let request =
            GetMonthlyCostsRequest { organization_id: self.organization(), ..request(MONTHS[start], MONTHS[end]) };
        self.books.try_costs(request).await.expect("costs")
    }

    async fn statement(&self, month: usize) -> Vec<GetStatementResponse> {
        let request = secure_connect_reports::contract::proto::GetStatementRequest {
            organization_id: self.organization(),
            billing_month: super::books::month(MONTHS[month]),
        };
        let mut stream = self.books.billing().await.get_statement(request).await.expect("a statement").into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await.expect("a whole statement") {
            messages.push(message);
        }
        messages
    }
}

async fn run(case: &mut Case<'_>, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut reference = Reference::default();
    let mut statements = Vec::new();
    case.books.database.apply(&case.catalog(&reference)).await;
    for step in steps {
        match step {
            Step::Deliver(day, usage) => {
                case.deliver(*day, usage).await;
                reference.usage.insert(*day, usage.clone());
                reference.months.insert(day.1);
            }
            Step::Withdraw(day) => {
                if reference.usage.remove(day).is_some() {
                    case.withdraw(*day).await;
                }
            }
            Step::Price { meter, region, from, tiers, half_even } => {
                case.books.database.apply(&case.price(*meter, *region, *from, *tiers, *half_even)).await;
                reference.prices.insert((*meter, *region, *from), (*tiers, *half_even));
            }
            Step::Charge { meter, charged } => {
                if *charged {
                    reference.uncharged.remove(meter);
                } else {
                    reference.uncharged.insert(*meter);
                }
                case.books.database.apply(&case.catalog(&reference)).await;
            }
            Step::Rename => {
                case.names += 1;
                case.books.database.apply(&case.catalog(&reference)).await;
            }
            Step::Close => {
                let Some(month) = reference.next().filter(|&month| month < MONTHS.len() - 1) else { continue };
                let open = case.bill(month, month).await;
                case.books.close_of(&case.organization(), MONTHS[month]).await;
                reference.close(month);
                let closed = case.bill(month, month).await;
                prop_assert_eq!((&closed.lines, &closed.adjustments), (&open.lines, &open.adjustments));
                statements.push((month, closed, case.statement(month).await));
            }
        }
    }
    // What was closed is as it was.
    for (month, bill, statement) in &statements {
        prop_assert_eq!(&case.bill(*month, *month).await, bill);
        prop_assert_eq!(&case.statement(*month).await, statement);
        check_digests(statement)?;
    }
    let Some(closed) = reference.closed_until else { return Ok(()) };
    // The bill of the first open month has all that is still to be adjusted.
    let bill = case.bill(0, closed + 1).await;
    let open = bill.adjustments.iter().filter(|adjustment| name(adjustment.billing_month) == MONTHS[closed + 1]);
    let found: BTreeMap<Line, BigDecimal> =
        open.map(|adjustment| (case.line(adjustment.line.as_ref().unwrap()), amount(&adjustment.amount))).collect();
    prop_assert_eq!(&found, &reference.adjustments());
    // Statements and adjustments are what everything costs now.
    let mut billed: BTreeMap<Line, BigDecimal> = BTreeMap::new();
    for line in bill.lines.iter().filter(|line| name(line.month).as_str() <= MONTHS[closed]) {
        *billed.entry(case.line(line)).or_default() += amount(&line.cost);
    }
    for adjustment in &bill.adjustments {
        *billed.entry(case.line(adjustment.line.as_ref().unwrap())).or_default() += amount(&adjustment.amount);
    }
    billed.retain(|_, amount| *amount != BigDecimal::default());
    let costs = reference.costs().into_iter().filter(|(line, _)| line.0 <= closed);
    let mut costs: BTreeMap<Line, BigDecimal> = costs.map(|(line, cost)| (line, cost.unwrap_or_default())).collect();
    costs.retain(|_, amount| *amount != BigDecimal::default());
    prop_assert_eq!(billed, costs);
    Ok(())
}

/// The digests of a head are those of its lists, which can be made again from what was sent.
fn check_digests(messages: &[GetStatementResponse]) -> Result<(), TestCaseError> {
    let head = messages[0].statement.as_ref().unwrap();
    let count = |list: fn(&GetStatementResponse) -> usize| messages.iter().map(list).sum::<usize>() as i64;
    prop_assert_eq!(count(|part| part.lines.len()), head.line_count);
    prop_assert_eq!(count(|part| part.adjustments.len()), head.adjustment_count);
    prop_assert_eq!(count(|part| part.tenant_months.len()), head.report_count);
    let mut reports = ListDigest::default();
    for report in messages.iter().flat_map(|part| &part.tenant_months) {
        let time = report.data_as_of.unwrap();
        let time = secure_connect_reports::model::UtcTime::from_unix(time.seconds, time.nanos).unwrap();
        let missing: Vec<_> = report
            .missing_days
            .iter()
            .map(|missing| serde_json::json!({"days": missing.days, "source": missing.source}))
            .collect();
        reports.add(&canonical(&serde_json::json!({
            "dataAsOf": time.to_string(), "missingDays": missing, "revision": report.revision, "tenantId": report.tenant_id,
        })));
    }
    let digest: String = reports.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    prop_assert_eq!(&digest, &head.reports_digest);
    Ok(())
}

#[test]
fn statements_and_adjustments_are_what_everything_costs_now() {
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
    let result = runner.run(&steps(), |steps| {
        number.set(number.get() + 1);
        runtime.block_on(run(&mut Case { books: &books, number: number.get(), names: 0 }, &steps))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
