//! Bills by FOCUS that are large, old or at the end of time.

use std::time::{Duration, Instant};

use secure_connect_reports::{
    client::{Client, ClientConfig, FocusQuery},
    contract::proto::GetFocusCostsRequest,
    model::{FocusVersion, MonthRange},
    store::{PurgeRules, purge},
};
use tonic::Code;

use super::focus::{cells, charges, request, sum};
use crate::statements::books::Books;
use crate::support::{
    Database,
    builder::{ORG, Row, csv},
    calls::{flight_path, focus_costs, reason},
    columns::command,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_month_ends_in_the_year_10000() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::new("9999-12-31T22:00:00Z", "9999-12-31T23:00:00Z", "1")])).await;
    let server = database.serve();
    let mut command = crate::support::program();
    command.args([
        "costs",
        "--organization",
        ORG,
        "--month",
        "9999-12",
        "--format",
        "focus",
        "--server",
        &server.url(),
    ]);
    let run = tokio::task::spawn_blocking(move || crate::support::run(&mut command));
    let (ok, text, log) = run.await.unwrap();
    assert!(ok && text.contains("+10000-01-01T00:00:00Z,9999-12-01T00:00:00Z"), "{text}{log}");
}

/// Assets may have long names, and lines many tiers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_with_long_texts_and_many_tiers_come_in_messages_that_clients_take() {
    let database = Database::with_catalog().await;
    let tiers: Vec<String> =
        (1..100).map(|end| format!("{{ up_to = \"{end}\", unit_price = \"0.{:04}\" }}", 1000 - end)).collect();
    let price = format!(
        "[[prices]]\nmeter = \"user_hours_essentials\"\ncurrency = \"USD\"\neffective_from = \"2022-02\"\ntiers = [{}, {{ unit_price = \"0.01\" }}]\n",
        tiers.join(", ")
    );
    database.apply(&price).await;
    let row =
        |n: usize| Row::on("2022-02-01", "1.5").asset(&format!("{n:0512}")).with("assetName", &format!("{n:01024}"));
    database.import(&csv(&(0..120).map(row).collect::<Vec<_>>())).await;
    let server = database.serve();
    // What comes is held against the bound of a message.
    let found = charges(&server, &GetFocusCostsRequest { by_asset: true, ..focus_costs(ORG) }).await;
    assert_eq!(found.record_count(), 120 * 100);
    assert_eq!(sum(&found, "PricingQuantity"), "180");
    let expected = found.summary["totals"][0]["amountDue"].as_str().unwrap();
    assert_eq!(sum(&found, "BilledCost").parse::<f64>().unwrap(), expected.parse::<f64>().unwrap());
}

/// Parts have more decimal places than a whole that comes out even: at the end of a tier, on an open bill and on a statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_may_have_more_decimal_places_than_what_they_add_up_to() {
    let books = Books::open().await;
    let price = "[[prices]]\nmeter = \"user_hours_essentials\"\ncurrency = \"USD\"\neffective_from = \"2022-01\"\n\
                 tiers = [{ up_to = \"1\", unit_price = \"0.5\" }, { unit_price = \"0.25\" }]\n";
    books.database.apply(price).await;
    let quantities = ["0.00000000000000000000001", "0.99999999999999999999999"];
    let rows = |day: &'static str| {
        ["a", "b"].into_iter().zip(quantities).map(move |(asset, quantity)| Row::on(day, quantity).asset(asset))
    };
    books.database.import(&csv(&rows("2022-01-01").chain(rows("2022-02-01")).collect::<Vec<_>>())).await;
    books.close("2022-01").await;
    for month in [1, 2] {
        let request = GetFocusCostsRequest { by_asset: true, ..request([month, month]) };
        let found = charges(&books.server, &request).await;
        let expected = [[quantities[0], "0.5", "0"], [quantities[1], "0.5", "0.5"]];
        assert_eq!(cells(&found, &["PricingQuantity", "ListUnitPrice", "BilledCost"]), expected, "{month}");
    }
}

/// Their detail is gone, and their bill is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_months_have_lines_and_no_assets() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "100")])).await;
    let server = database.serve();
    let rules = PurgeRules { months_before: "2022-03".parse().ok(), ..PurgeRules::default() };
    purge(&database.url, rules, Duration::ZERO, false).await.unwrap();
    let lines = server.columns(flight_path("focus_costs", ORG, "2022-02")).await.remove(0);
    assert_eq!(cells(&lines, &["BilledCost"]), [["1"]]);
    let request = GetFocusCostsRequest { by_asset: true, ..focus_costs(ORG) };
    let info = server.flight_info(command("GetFocusCostsRequest", &request)).await.unwrap();
    let status = server.get(info.endpoint[0].ticket.clone().unwrap()).await.map(drop).unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "REPORT_PURGED".to_owned()));
}

/// What a client waits for is longer than what it waits without a sign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_adds_up_says_so() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "700").asset("a")])).await;
    let server = database.serve();
    let lock = database.sql().await;
    lock.batch_execute("BEGIN; LOCK TABLE usage_block IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut config = ClientConfig::new(server.url());
    config.retry_for = Duration::from_secs(8);
    let mut client = Client::connect(&config).await.unwrap();
    let query = FocusQuery {
        organization_id: ORG.parse().unwrap(),
        tenant_id: None,
        months: MonthRange::single("2022-02".parse().unwrap()),
        as_of: None,
        version: FocusVersion::V1_2,
        by_asset: true,
    };
    let started = Instant::now();
    let mut bills = client.focus_costs(&query).await.unwrap();
    let (next, ()) = tokio::join!(bills.next(), async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        lock.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(next.unwrap().unwrap().num_rows(), 1);
    assert!(started.elapsed() >= Duration::from_secs(12));
    assert!(bills.next().await.unwrap().is_none());
}
