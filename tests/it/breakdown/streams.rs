//! Breakdowns while the world changes: slow readers, cuts, purges, new names.

use std::time::{Duration, Instant};

use secure_connect_reports::{
    auth::AuthConfig,
    client::{BreakdownQuery, Client, ClientConfig, ClientError},
    contract::proto::{CostShare, GetCostBreakdownRequest, YearMonth},
    model::{BillSubject, CostGroup, MonthRange},
    service::ServerConfig,
    store::{PurgeRules, StoreConfig, purge},
};
use tonic::Code;

use super::{ask, query, refused, rows, short};
use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    calls::{cost_breakdown, monthly_costs, reason},
    proxy::{Fate, Proxy},
};

const ASSETS: u32 = 20_000;

/// A day with more rows than wait for a reader.
async fn large() -> Database {
    let database = Database::with_catalog().await;
    let row = |n: u32| Row::on("2022-02-01", "1.5").asset(&format!("{n:05}"));
    database.import(&csv(&(0..ASSETS).map(row).collect::<Vec<_>>())).await;
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_purged_have_no_groups_and_their_bill_stays() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "7").asset("a"), Row::on("2022-03-01", "3").asset("b")])).await;
    let server = database.serve();
    let months = MonthRange::new("2022-02".parse().unwrap(), "2022-03".parse().unwrap()).unwrap();
    let of = |groups: &[CostGroup]| BreakdownQuery { months, ..query(ORG, groups) };
    let before = rows(&server, &of(&[])).await;
    assert_eq!(short(&before), [": 7 0 0.07", ": 3 0 0.03"]);
    let rules = PurgeRules { superseded_for: None, months_before: Some("2022-03".parse().unwrap()) };
    purge(&database.url, rules, Duration::from_secs(300), false).await.unwrap();
    assert_eq!(rows(&server, &of(&[])).await, before);
    let refusal = refused(&server, cost_breakdown(ORG, &[1])).await;
    assert_eq!(reason(&refusal), (Code::FailedPrecondition, "REPORT_PURGED".to_owned()));
    let march = MonthRange::new(months.end(), months.end()).unwrap();
    let kept = rows(&server, &BreakdownQuery { months: march, ..of(&[CostGroup::Asset]) }).await;
    assert_eq!(short(&kept), ["USER b Joe: 3 0 0.03"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_do_not_add_up_to_the_bill_are_an_error() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "7").asset("a")])).await;
    let sql = database.sql().await;
    for (column, difference) in [("quantity", "0.000001"), ("record_count", "1")] {
        let change = async |sign: &str| {
            let value = format!("(totals[1]).{column} {sign} {difference}");
            sql.batch_execute(&format!("UPDATE usage_month SET totals[1].{column} = {value}")).await.unwrap();
        };
        change("+").await;
        let server = database.serve();
        let refusal = refused(&server, cost_breakdown(ORG, &[1])).await;
        assert_eq!(reason(&refusal), (Code::Internal, "INTERNAL".to_owned()), "{column}");
        change("-").await;
    }
    // A bill of another revision than the detail.
    sql.batch_execute("UPDATE usage_month SET revision = sha256('x')").await.unwrap();
    let refusal = refused(&database.serve(), cost_breakdown(ORG, &[2])).await;
    assert_eq!(reason(&refusal), (Code::Internal, "INTERNAL".to_owned()));
}

/// More tenants than are read at once.
fn many_tenants(name: &str) -> (String, String) {
    let mut catalog = CATALOG.to_owned();
    let mut rows = Vec::new();
    for n in 0..150 {
        let id = format!("dddddddd-0000-4000-8000-{n:012}");
        catalog.push_str(&format!(
            "[[tenants]]\nid = \"{id}\"\norganization_id = \"{ORG}\"\nname = \"{name}{n:03}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n"
        ));
        for month in 1..=6 {
            for region in ["AF", "AP", "EU", "NA"] {
                let row =
                    Row::on(&format!("2022-{month:02}-05"), &format!("{}.{n}", n % 7)).with("billingRegion", region);
                rows.extend([row.clone().of(ORG, &id).asset("a"), row.of(ORG, &id).asset("b").bandwidth()]);
            }
        }
    }
    (catalog, csv(&rows))
}

fn half_a_year(groups: &[i32]) -> GetCostBreakdownRequest {
    let month = |month| Some(YearMonth { year: 2022, month });
    GetCostBreakdownRequest { start_month: month(1), end_month: month(6), ..cost_breakdown(ORG, groups) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tenants_are_read_in_parts_of_one_moment() {
    let database = Database::migrated();
    let (catalog, usage) = many_tenants("t");
    database.apply(&catalog).await;
    database.import(&usage).await;
    let server = database.serve();
    let short = |rows: Vec<CostShare>| -> Vec<_> {
        let row = |row: CostShare| {
            (row.month.unwrap().month, row.tenant_name, row.meter_name, row.billing_region, row.asset_id, row.cost)
        };
        rows.into_iter().map(row).collect()
    };
    for groups in [&[][..], &[1]] {
        let mut seen = Vec::new();
        for is_disturbed in [false, true] {
            let mut stream = server.stub().await.get_cost_breakdown(half_a_year(groups)).await.unwrap().into_inner();
            let first = stream.message().await.unwrap().unwrap();
            assert!(first.rows.len() <= 512 && first.header.is_some());
            if is_disturbed {
                // What comes later changes nothing in what is being read.
                let later = Row::on("2022-06-05", "999").of(ORG, "dddddddd-0000-4000-8000-000000000149");
                database.import(&csv(&[later])).await;
            }
            let mut rows = first.rows;
            let mut summary = None;
            while let Some(message) = stream.message().await.unwrap() {
                rows.extend(message.rows);
                summary = message.summary;
            }
            assert_eq!(summary.unwrap().row_count, 7200);
            seen.push(short(rows));
        }
        assert!(seen[0].is_sorted());
        assert_eq!(seen[0], seen[1]);
        database.import(&usage).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_change_meanwhile_end_a_stream() {
    let database = Database::migrated();
    let (catalog, usage) = many_tenants("t");
    database.apply(&catalog).await;
    database.import(&usage).await;
    let server = database.serve();
    let mut stream = server.stub().await.get_cost_breakdown(half_a_year(&[])).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    database.apply(&many_tenants("u").0).await;
    let mut received = 0;
    let status = loop {
        match stream.message().await {
            Ok(Some(message)) => {
                assert!(message.summary.is_none(), "the stream was read before names changed");
                received += 1;
            }
            Ok(None) => panic!("the stream ended after {received} messages"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), (Code::Aborted, "NAMES_CHANGED".to_owned()));
    assert_eq!(rows(&server, &query(ORG, &[])).await[0].tenant_name, "u000");
}

/// Between what it reads, a stream holds no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_up_nobody() {
    let database = large().await;
    let config = StoreConfig { short_connections: 1, export_connections: 1, ..database.config() };
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let server = Server::start(ServerConfig::new(config, auth));
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = server.stub().await.get_cost_breakdown(cost_breakdown(ORG, &[1])).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        slow.push(stream);
    }
    server.stub().await.get_monthly_costs(monthly_costs(ORG)).await.unwrap();
    let found = ask(&server, &query(ORG, &[CostGroup::Asset])).await.unwrap();
    // 30,000 hours at 0.01 are 300.00: one and a half cents each.
    assert_eq!((found.rows.len(), found.totals[0].cost.as_str()), (ASSETS as usize, "300.00"));
    let half = ASSETS as usize / 2;
    assert!(found.rows[..half].iter().all(|row| row.cost == "0.02"), "of equal remainders the first ones come first");
    assert!(found.rows[half..].iter().all(|row| row.cost == "0.01"));
    let sql = database.sql().await;
    let busy = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";
    assert_eq!(sql.query_one(busy, &[]).await.unwrap().get::<_, i64>(0), 0);
    for mut stream in slow {
        let mut last = None;
        while let Some(message) = stream.message().await.unwrap() {
            last = Some(message);
        }
        assert_eq!(last.unwrap().summary.unwrap().row_count, i64::from(ASSETS));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_is_noticed() {
    let database = large().await;
    let server = database.serve();
    let whole = rows(&server, &query(ORG, &[CostGroup::Asset])).await;
    // Before the first message it is asked for again.
    let (mut whole_ones, mut truncated) = (0, 0);
    for cut_after in [0, 20_000, 300_000, 900_000, 1_500_000] {
        let fate = move |number| match number {
            0 => Fate { cut_after, pause: Duration::ZERO },
            _ => Fate { cut_after: u64::MAX, pause: Duration::ZERO },
        };
        let proxy = Proxy::start(server.address, fate).await;
        let config = ClientConfig { retry_for: Duration::from_secs(20), ..ClientConfig::new(&proxy.url) };
        let mut client = Client::connect(&config).await.unwrap();
        let mut breakdown = match client.cost_breakdown(&query(ORG, &[CostGroup::Asset])).await {
            Ok(breakdown) => breakdown,
            Err(error) => panic!("cut after {cut_after}: {error}"),
        };
        let mut received = Vec::new();
        let end = loop {
            match breakdown.next().await {
                Ok(Some(next)) => received.extend(next.rows),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if proxy.connections() > 1 {
            assert!(end.is_none() && received == whole, "cut after {cut_after}: {end:?}");
            whole_ones += 1;
            continue;
        }
        let Some(ClientError::Truncated { received: told, .. }) = end else { panic!("cut after {cut_after}: {end:?}") };
        assert_eq!(told, received.len() as u64);
        assert!(received.len() < whole.len() && received == whole[..received.len()]);
        truncated += 1;
    }
    assert_eq!((whole_ones, truncated), (2, 3));
}

/// A server that stops, or whose database does, says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_ends_a_stream_with_its_reason() {
    let database = large().await;
    let mut server = database.serve();
    let mut stream = server.stub().await.get_cost_breakdown(cost_breakdown(ORG, &[1])).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    server.signal();
    let status = loop {
        match stream.message().await {
            Ok(Some(message)) => assert!(message.summary.is_none()),
            Ok(None) => panic!("the stream is whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_long_as_there_are_no_rows_the_caller_hears_of_the_server() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "7").asset("a")])).await;
    let server = database.serve();
    let lock = database.sql().await;
    lock.batch_execute("BEGIN; LOCK TABLE usage_block IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let started = Instant::now();
    let mut stream = server.stub().await.get_cost_breakdown(cost_breakdown(ORG, &[1])).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.header.is_some() && first.rows.is_empty() && first.summary.is_none());
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!(second, Default::default());
    assert!(started.elapsed() >= Duration::from_secs(10));
    lock.batch_execute("COMMIT").await.unwrap();
    let mut rows = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.header.is_none());
        rows.extend(message.rows);
    }
    assert_eq!(short(&rows), ["USER a Joe: 7 0 0.07"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_stream_leaves_nothing_behind() {
    let database = large().await;
    let server = database.serve();
    for _ in 0..20 {
        let mut stream = server.stub().await.get_cost_breakdown(cost_breakdown(ORG, &[1])).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
    }
    crate::support::settle(&database).await;
    let subject = BillSubject::Tenant(TENANT.parse().unwrap());
    let found = rows(&server, &BreakdownQuery { subject, ..query(ORG, &[CostGroup::Asset]) }).await;
    assert_eq!(found.len(), ASSETS as usize);
}
