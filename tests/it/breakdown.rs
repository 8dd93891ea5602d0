//! `GetCostBreakdown`: what parts of a bill cost.

mod command;
mod requests;
mod statements;
mod streams;

use secure_connect_reports::{
    client::{BreakdownQuery, ClientError, CostsQuery},
    contract::proto::{BreakdownTotal, CostShare, GetCostBreakdownRequest},
    model::{AssetType, BillSubject, BillingRegion, BreakdownFilter, CostGroup, MonthRange, UtcTime},
};
use tonic::Status;

use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB, GIB_ID, HOURS, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    calls::cost_breakdown,
};

/// February 2022 of an organization, by groups.
fn query(organization: &str, groups: &[CostGroup]) -> BreakdownQuery {
    let month = "2022-02".parse().unwrap();
    BreakdownQuery {
        subject: BillSubject::Organization(organization.parse().unwrap(), None),
        months: MonthRange::new(month, month).unwrap(),
        groups: groups.iter().copied().collect(),
        filter: BreakdownFilter::default(),
        as_of: None,
        current: false,
    }
}

/// A breakdown that is complete.
struct Broken {
    rows: Vec<CostShare>,
    totals: Vec<BreakdownTotal>,
    revisions: Vec<String>,
}

async fn ask(server: &Server, query: &BreakdownQuery) -> Result<Broken, ClientError> {
    let mut breakdown = server.client().await.cost_breakdown(query).await?;
    let (mut rows, mut revisions) = (Vec::new(), Vec::new());
    while let Some(next) = breakdown.next().await? {
        rows.extend(next.rows);
        revisions.extend(next.reports.into_iter().map(|report| report.revision));
    }
    Ok(Broken { rows, totals: breakdown.totals().to_vec(), revisions })
}

async fn rows(server: &Server, query: &BreakdownQuery) -> Vec<CostShare> {
    ask(server, query).await.expect("a breakdown").rows
}

/// What tells a row's group, and quantity, quantity under trial and cost.
fn short(rows: &[CostShare]) -> Vec<String> {
    const TYPES: [&str; 6] = ["", "USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"];
    const PLATFORMS: [&str; 3] = ["", "mcp", "azure"];
    let row = |row: &CostShare| {
        let cells = [
            TYPES[usize::try_from(row.asset_type).unwrap()],
            &row.asset_id,
            &row.asset_name,
            &row.usage_day,
            PLATFORMS[usize::try_from(row.platform).unwrap()],
        ];
        let cells: Vec<_> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        format!("{}: {} {} {}", cells.join(" "), row.quantity, row.trial_quantity, row.cost)
    };
    rows.iter().map(row).collect()
}

/// The usage of the worked example of docs/concepts.md, with trial usage beside it: one line of 84.97.
fn example() -> Vec<Row> {
    let gib = |day: &str, asset_type: &str, id: &str, name: &str, quantity: &str, platform: &str| {
        let row = Row::on(day, quantity).bandwidth().asset(id);
        row.with("assetType", asset_type).with("assetName", name).with("platform", platform)
    };
    vec![
        gib("2022-02-01", "ENDPOINT", "ep-0001", "Front desk", "31.25", "azure"),
        gib("2022-02-01", "ENDPOINT", "ep-0002", "Lab", "398.50", "mcp"),
        gib("2022-02-02", "ENDPOINT", "ep-0001", "Front desk", "640.5", "azure"),
        gib("2022-02-02", "GATEWAY", "gw-1", "Gate", "7.5", "").with("trial", "TRUE"),
        gib("2022-02-02", "ENDPOINT", "ep-0002", "Lab", "2", "mcp").with("trial", "TRUE"),
    ]
}

#[tokio::test]
async fn a_line_is_shared_among_groups_and_shares_add_up_to_it() {
    let database = Database::with_catalog().await;
    database.import(&csv(&example())).await;
    let server = database.serve();
    let by = async |groups: &[CostGroup]| short(&rows(&server, &query(ORG, groups)).await);
    use CostGroup::{Asset, Platform, UsageDay};
    assert_eq!(by(&[]).await, [": 1070.25 9.5 84.97"]);
    // 671.75 and 398.5 of 1070.25 are 53.3322... and 31.6378... of 84.97; what is left goes to the larger remainder.
    let assets = ["ENDPOINT ep-0001 Front desk: 671.75 0 53.33", "ENDPOINT ep-0002 Lab: 398.5 2 31.64"];
    assert_eq!(by(&[Asset]).await, ["GATEWAY gw-1 Gate: 0 7.5 0.00", assets[0], assets[1]]);
    assert_eq!(by(&[CostGroup::AssetType]).await, ["GATEWAY: 0 7.5 0.00", "ENDPOINT: 1070.25 2 84.97"]);
    assert_eq!(by(&[UsageDay]).await, ["2022-02-01: 429.75 0 34.12", "2022-02-02: 640.5 9.5 50.85"]);
    assert_eq!(by(&[Platform]).await, [": 0 7.5 0.00", "mcp: 398.5 2 31.64", "azure: 671.75 0 53.33"]);
    assert_eq!(
        by(&[Platform, UsageDay, Asset]).await,
        [
            "GATEWAY gw-1 Gate 2022-02-02: 0 7.5 0.00",
            "ENDPOINT ep-0001 Front desk 2022-02-01 azure: 31.25 0 2.48",
            "ENDPOINT ep-0001 Front desk 2022-02-02 azure: 640.5 0 50.85",
            "ENDPOINT ep-0002 Lab 2022-02-01 mcp: 398.5 0 31.64",
            "ENDPOINT ep-0002 Lab 2022-02-02 mcp: 0 2 0.00",
        ]
    );
}

#[tokio::test]
async fn a_row_says_what_a_line_says_and_its_group() {
    let database = Database::with_catalog().await;
    database.import(&csv(&example())).await;
    let server = database.serve();
    let mut stub = server.stub().await;
    let request = GetCostBreakdownRequest { end_month: None, ..cost_breakdown(ORG, &[2, 1, 2]) };
    let mut stream = stub.get_cost_breakdown(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let header = first.header.clone().unwrap();
    let february = header.start_month;
    assert_eq!((february.map(|month| (month.year, month.month)), header.end_month), (Some((2022, 2)), february));
    assert_eq!((header.organization_id.as_str(), header.currency.as_str()), (ORG, "USD"));
    assert_eq!(header.group_by, [1, 2]);
    let row = &first.rows[1];
    assert_eq!((row.month, row.organization_id.as_str(), row.tenant_id.as_str()), (february, ORG, TENANT));
    assert_eq!((row.tenant_name.as_str(), row.plan.as_str(), row.unit.as_str()), ("acme-hq", "essentials", "GiB"));
    assert_eq!((row.meter_name.as_str(), row.meter_id.as_str(), row.billing_region), (GIB, GIB_ID, 3));
    assert_eq!((row.asset_type, row.asset_id.as_str(), row.asset_name.as_str()), (5, "ep-0001", "Front desk"));
    assert_eq!((row.usage_day.as_str(), row.platform), ("2022-02-01", 0));
    assert_eq!((row.currency.as_str(), row.record_count), ("USD", 1));
    let [report] = first.reports.as_slice() else { panic!("one report, not {:?}", first.reports) };
    let costs = server.client().await.monthly_costs(&costs_query(&query(ORG, &[]))).await.unwrap();
    let expected = &costs.tenant_months[0];
    assert_eq!((report.month, &report.tenant_id), (expected.month, &expected.tenant_id));
    assert_eq!((&report.revision, report.data_as_of), (&expected.revision, expected.data_as_of));
    let last = stream.message().await.unwrap().unwrap();
    let summary = last.summary.unwrap();
    assert_eq!((summary.row_count, summary.totals.len()), (5, 1));
    let total = &summary.totals[0];
    assert_eq!((total.month, total.currency.as_str(), total.cost.as_str()), (february, "USD", "84.97"));
    assert_eq!(stream.message().await.unwrap(), None);
}

fn costs_query(query: &BreakdownQuery) -> CostsQuery {
    let (organization_id, tenant_id) = match query.subject {
        BillSubject::Organization(organization, tenant) => (organization, tenant),
        BillSubject::Tenant(_) => panic!("a bill is an organization's"),
    };
    CostsQuery { organization_id, tenant_id, months: query.months, as_of: query.as_of, current: false }
}

/// Shares depend on what was delivered, and neither on when nor on how often; an asset has the name that was delivered last.
#[tokio::test]
async fn rows_depend_on_content_only() {
    let row = |day: &str, id: &str, name: &str, quantity: &str| {
        Row::on(day, quantity).asset(id).with("assetName", name).with("assetType", "USER")
    };
    let days = [
        vec![row("2022-02-01", "b", "Old", "0.7"), row("2022-02-01", "c", "C", "0.7")],
        vec![row("2022-02-02", "b", "New", "0.7"), row("2022-02-02", "a", "A", "0.7")],
        // Of two names on one day, that of the last record counts.
        vec![
            row("2022-02-03", "a", "A later", "0.1").bandwidth(),
            row("2022-02-03", "a", "A last", "0.1"),
            row("2022-02-03", "c", "", "0"),
        ],
    ];
    let mut revisions = Vec::new();
    for (order, names) in
        [([0, 1, 2], [" A last", " New", ""]), ([2, 1, 0], [" A", " Old", " C"]), ([1, 0, 2], [" A last", " Old", ""])]
    {
        let database = Database::with_catalog().await;
        // Something else first, which is restated.
        database.import(&csv(&[row("2022-02-02", "x", "X", "9"), row("2022-02-02", "b", "Newer", "9")])).await;
        for day in order {
            database.import(&csv(&days[day])).await;
            database.import(&csv(&days[day])).await;
        }
        let server = database.serve();
        let found = ask(&server, &query(ORG, &[CostGroup::Asset])).await.unwrap();
        // 2.9 hours at 0.01 are 0.03: 0.83, 1.45 and 0.72 cents of them.
        let [a, b, c] = names;
        let expected = [
            format!("USER a{a}: 0.1 0 0.00"),
            format!("USER a{a}: 0.8 0 0.01"),
            format!("USER b{b}: 1.4 0 0.01"),
            format!("USER c{c}: 0.7 0 0.01"),
        ];
        assert_eq!(short(&found.rows), expected);
        revisions.push(found.revisions);
    }
    assert!(revisions.iter().all(|other| *other == revisions[0]));
}

#[tokio::test]
async fn trial_usage_costs_nothing_and_usage_without_a_price_has_no_cost() {
    let database = Database::with_catalog().await;
    let rows_of = |row: Row| row.of(ORG_EUR, TENANT_EUR);
    database
        .import(&csv(&[
            rows_of(Row::on("2022-02-01", "5").asset("a")),
            rows_of(Row::on("2022-02-01", "6").asset("b").with("trial", "TRUE")),
            rows_of(Row::on("2022-02-01", "7").asset("b").bandwidth().with("trial", "TRUE")),
        ]))
        .await;
    let server = database.serve();
    let found = ask(&server, &query(ORG_EUR, &[CostGroup::Asset])).await.unwrap();
    let expected = ["USER b Joe: 0 7 0.00", "USER a Joe: 5 0 ", "USER b Joe: 0 6 "];
    assert_eq!(short(&found.rows), expected);
    assert_eq!((found.totals[0].cost.as_str(), found.totals[0].currency.as_str()), ("0.00", "EUR"));
}

#[tokio::test]
async fn a_filter_selects_rows_and_changes_no_share() {
    let database = Database::with_catalog().await;
    let hours = |id: &str, asset_type: &str, region: &str| {
        Row::on("2022-02-01", "0.5").asset(id).with("assetType", asset_type).with("billingRegion", region)
    };
    let composed = "ren\u{e9}";
    let mut usage = example();
    usage.extend(["a", "b", composed].map(|id| hours(id, "USER", "EU")));
    usage.extend([hours("c", "GATEWAY", "NA"), hours("d", "USER", "NA")]);
    // The name of an asset is that of all its usage, whatever is selected.
    usage.push(hours("a", "USER", "AF").bandwidth().with("assetName", "Joe II").with("end", "2022-02-01T02:00:00Z"));
    database.import(&csv(&usage)).await;
    let server = database.serve();
    let asset = [CostGroup::Asset, CostGroup::Platform];
    let all = rows(&server, &query(ORG, &asset)).await;
    let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    type Wanted = Box<dyn Fn(&CostShare) -> bool>;
    let cases: [(BreakdownFilter, Wanted); 6] = [
        (
            BreakdownFilter { asset_types: vec![AssetType::Gateway], ..Default::default() },
            Box::new(|row| row.asset_type == 4),
        ),
        (
            // Its parts, not composed.
            BreakdownFilter { asset_ids: strings(&["a", "rene\u{301}"]), ..Default::default() },
            Box::new(move |row| row.asset_id == "a" || row.asset_id == composed),
        ),
        (
            BreakdownFilter { meter_names: strings(&[HOURS]), ..Default::default() },
            Box::new(|row| row.meter_name == HOURS),
        ),
        (
            BreakdownFilter { billing_regions: vec![BillingRegion::Na], ..Default::default() },
            Box::new(|row| row.billing_region == 4),
        ),
        (
            BreakdownFilter {
                asset_types: vec![AssetType::User, AssetType::Endpoint],
                asset_ids: strings(&["b", "ep-0001"]),
                meter_names: strings(&[GIB, HOURS]),
                billing_regions: vec![BillingRegion::Eu],
            },
            Box::new(|row| row.billing_region == 3 && ["b", "ep-0001"].contains(&row.asset_id.as_str())),
        ),
        (BreakdownFilter { asset_ids: strings(&["nobody"]), ..Default::default() }, Box::new(|_| false)),
    ];
    for (filter, wanted) in cases {
        let expected: Vec<_> = all.iter().filter(|row| wanted(row)).cloned().collect();
        let query = BreakdownQuery { filter, ..query(ORG, &asset) };
        assert_eq!(rows(&server, &query).await, expected, "{:?}", query.filter);
    }
    // By type alone, and by nothing at all.
    let filter = BreakdownFilter { asset_types: vec![AssetType::Gateway], ..Default::default() };
    let by_type = BreakdownQuery { filter, ..query(ORG, &[CostGroup::AssetType]) };
    // Half of the one cent of the second line is a user's, who comes first.
    assert_eq!(short(&rows(&server, &by_type).await), ["GATEWAY: 0 7.5 0.00", "GATEWAY: 0.5 0 0.00"]);
    let filter = BreakdownFilter { billing_regions: vec![BillingRegion::Na], ..Default::default() };
    let lines = BreakdownQuery { filter, ..query(ORG, &[]) };
    assert_eq!(short(&rows(&server, &lines).await), [": 1 0 0.01"]);
}

#[tokio::test]
async fn without_groups_rows_are_the_lines_of_the_bill() {
    let database = Database::with_catalog().await;
    let mut usage = example();
    usage.push(Row::on("2022-03-01", "0.5"));
    usage.push(Row::on("2022-02-01", "3").of(ORG, TENANT_2));
    database.import(&csv(&usage)).await;
    let server = database.serve();
    let months = MonthRange::new("2022-01".parse().unwrap(), "2022-04".parse().unwrap()).unwrap();
    let of = |groups: &[CostGroup]| BreakdownQuery { months, ..query(ORG, groups) };
    let costs = server.client().await.monthly_costs(&costs_query(&of(&[]))).await.unwrap();
    let found = ask(&server, &of(&[])).await.unwrap();
    let line = |month: &str, tenant: &str, meter: &str, quantity: &str, trial: &str, cost: &str, count: i64| {
        [month, tenant, meter, quantity, trial, cost, &count.to_string()].join(" ")
    };
    let month = |month: Option<secure_connect_reports::contract::proto::YearMonth>| month.unwrap().month.to_string();
    let expected = costs.lines.iter().map(|of| {
        line(
            &month(of.month),
            &of.tenant_name,
            &of.meter_name,
            &of.quantity,
            &of.trial_quantity,
            &of.cost,
            of.record_count,
        )
    });
    let rows = found.rows.iter().map(|of| {
        line(
            &month(of.month),
            &of.tenant_name,
            &of.meter_name,
            &of.quantity,
            &of.trial_quantity,
            &of.cost,
            of.record_count,
        )
    });
    assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let revisions: Vec<_> = costs.tenant_months.iter().map(|report| report.revision.clone()).collect();
    assert_eq!(found.revisions, revisions);
    for groups in [&[][..], &[CostGroup::Asset], &[CostGroup::UsageDay, CostGroup::Platform]] {
        let totals = ask(&server, &of(groups)).await.unwrap().totals;
        let totals: Vec<_> = totals.iter().map(|total| (total.month, total.cost.as_str())).collect();
        let expected: Vec<_> = costs.totals.iter().map(|total| (total.month, total.cost.as_str())).collect();
        assert_eq!(totals, expected);
        assert_eq!(totals.len(), 4);
    }
    // One tenant, with its organization and without.
    let (organization, tenant) = (ORG.parse().unwrap(), TENANT_2.parse().unwrap());
    for subject in [BillSubject::Tenant(tenant), BillSubject::Organization(organization, Some(tenant))] {
        let one = BreakdownQuery { subject, ..of(&[CostGroup::Asset]) };
        assert_eq!(short(&self::rows(&server, &one).await), ["USER joe@email.com Joe: 3 0 0.03"]);
    }
    // Nothing is nothing, with a total of each month.
    let subject = BillSubject::Tenant(TENANT_EUR.parse().unwrap());
    let none = ask(&server, &BreakdownQuery { subject, ..of(&[CostGroup::Asset]) }).await.unwrap();
    assert_eq!((none.rows.len(), none.totals.len(), none.totals[3].cost.as_str()), (0, 4, "0.00"));
}

#[tokio::test]
async fn a_breakdown_can_be_had_as_it_was() {
    let database = Database::with_catalog().await;
    let first = database.import(&csv(&example())).await.published_at.unwrap();
    database.import(&csv(&[example()[0].clone()])).await;
    database.apply(&CATALOG.replace("\"0.085\"", "\"0.5\"")).await;
    let server = database.serve();
    let at = |as_of: Option<UtcTime>| BreakdownQuery { as_of, ..query(ORG, &[CostGroup::Platform]) };
    let then = short(&rows(&server, &at(Some(first))).await);
    assert_eq!(then, [": 0 7.5 0.00", "mcp: 398.5 2 31.64", "azure: 671.75 0 53.33"]);
    // The first day has one record now, and 621.75 GiB are beyond the free tier.
    assert_eq!(short(&rows(&server, &at(None)).await), [": 0 7.5 0.00", "mcp: 0 2 0.00", "azure: 671.75 0 310.88"]);
    let before = UtcTime::from_unix_micros(first.unix_micros() - 1).unwrap();
    assert_eq!(rows(&server, &at(Some(before))).await, []);
}

async fn refused(server: &Server, request: GetCostBreakdownRequest) -> Status {
    match server.stub().await.get_cost_breakdown(request).await {
        Err(status) => status,
        Ok(answer) => answer.into_inner().message().await.expect_err("an error"),
    }
}
