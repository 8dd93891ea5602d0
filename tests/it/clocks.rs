//! Clocks that are wrong: nothing is published by them, and what was can be brought back.

use secure_connect_reports::{
    contract::proto::{GetDetailedUsageRequest, GetMonthlyCostsRequest},
    ingest::LoadOutcome,
    model::UtcTime,
};
use tokio_postgres::Client;
use tonic::Code;

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    calls::{Rpc, detailed_usage, monthly_costs, reason},
    program,
};

async fn name(sql: &Client) -> String {
    sql.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0)
}

/// Sets the clock that new connections see; the functions of the schema still see the real one.
async fn shift(sql: &Client, interval: &str) {
    let script = format!(
        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
         $$ SELECT pg_catalog.clock_timestamp() + interval '{interval}' $$;
         ALTER DATABASE {} SET search_path = public, pg_catalog",
        name(sql).await
    );
    sql.batch_execute(&script).await.unwrap();
}

fn timestamp(time: UtcTime) -> Option<prost_types::Timestamp> {
    let micros = time.unix_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap();
    Some(prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos })
}

/// What a report as of the present is answered with.
async fn as_of_now(server: &Server) -> Result<(), (Code, String)> {
    let as_of = timestamp(UtcTime::from_chrono(chrono::Utc::now()));
    let request = GetDetailedUsageRequest { as_of, ..detailed_usage(TENANT) };
    server.stub().await.get_detailed_usage(request).await.map(drop).map_err(|status| reason(&status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_where_clocks_differ() {
    let database = Database::with_catalog().await;
    let before = csv(&[Row::on("2022-02-01", "1")]);
    database.import(&before).await;
    let sql = database.sql().await;
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), csv(&[Row::on("2022-02-01", "2")])).unwrap();
    let prices = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(prices.path(), CATALOG.replace("unit_price = \"0.01\"", "unit_price = \"0.02\"")).unwrap();
    for shifted in ["30 years", "6 minutes", "-6 minutes", "-30 years"] {
        shift(&sql, shifted).await;
        for arguments in [["import"].as_slice(), &["catalog", "apply"]] {
            let file = if arguments[0] == "import" { file.path() } else { prices.path() };
            let output = program().args(arguments).arg(file).env("DATABASE_URL", &database.url).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{shifted}");
            let expected = "differ by more than 300 s, so nothing was published or purged";
            assert!(error.contains(expected), "{shifted}: {error}");
        }
        for rule in [["--superseded-days", "0"], ["--keep-months", "1"]] {
            let output = program().arg("purge").args(rule).env("DATABASE_URL", &database.url).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(
                !output.status.success() && error.contains("so nothing was published or purged"),
                "{shifted}: {error}"
            );
        }
        let server = database.serve();
        let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
        for rpc in [Rpc::ImportUsage, Rpc::WithdrawUsage, Rpc::CloseMonth] {
            let status = rpc.call(&channel, &[]).await.unwrap_err();
            assert_eq!(reason(&status), (Code::FailedPrecondition, "CLOCK_SKEW".to_owned()), "{shifted}");
        }
        assert_eq!(server.february().await, before, "reports go on");
    }
    shift(&sql, "4 minutes").await;
    database.import(&csv(&[Row::on("2022-02-01", "3")])).await;
    shift(&sql, "6 minutes").await;
    let mut allowed = program();
    allowed.args(["import", "--max-clock-skew", "600"]).arg(file.path()).env("DATABASE_URL", &database.url);
    assert!(allowed.status().unwrap().success());
    assert_eq!(database.serve().february().await, csv(&[Row::on("2022-02-01", "2")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_clock_that_is_ahead_is_said() {
    let database = Database::with_catalog().await;
    let first = csv(&[Row::on("2022-02-01", "1")]);
    database.import(&first).await;
    let server = database.serve();
    let sql = database.sql().await;
    sql.batch_execute("UPDATE publication_clock SET last_published_at = now() + interval '25 hours'").await.unwrap();
    let error =
        database.try_import(&csv(&[Row::on("2022-02-01", "2")]), "default", false).await.unwrap_err().to_string();
    assert!(error.starts_with("the publication clock stands at "), "{error}");
    assert!(error.contains("more than a day ahead of the database's clock"), "{error}");
    assert_eq!(as_of_now(&server).await, Err((Code::FailedPrecondition, "CLOCK_SKEW".to_owned())));
    assert_eq!(server.february().await, first);

    sql.batch_execute("UPDATE publication_clock SET last_published_at = now() + interval '23 hours'").await.unwrap();
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    assert_eq!(as_of_now(&server).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_in_the_future_is_brought_back_in_its_order() {
    let database = Database::with_catalog().await;
    let sql = database.sql().await;
    let first = database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "10")])).await;
    // A clock that is wrong for a while, here and in the database.
    let tick = |ahead: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION tick_publication_clock() RETURNS timestamptz
             LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
                 UPDATE publication_clock
                 SET last_published_at = greatest(clock_timestamp() + interval '{ahead}',
                                                  last_published_at + interval '1 microsecond')
                 RETURNING last_published_at
             $$"
        )
    };
    sql.batch_execute(&tick("23 hours")).await.unwrap();
    for quantity in ["2", "3"] {
        database.import(&csv(&[Row::on("2022-02-01", quantity)])).await;
        let price = format!("unit_price = \"0.{quantity}\"");
        // Bandwidth ceases to be charged, and begins again.
        let charged = if quantity == "2" { "unit = \"GiB\"\ncharged = false" } else { "unit = \"GiB\"" };
        database.apply(&CATALOG.replace("unit_price = \"0.01\"", &price).replace("unit = \"GiB\"", charged)).await;
    }
    sql.batch_execute(&tick("0")).await.unwrap();
    // So much later that nobody can take it for now.
    let later = "SET session_replication_role = replica;
        UPDATE usage_import SET published_at = published_at + interval '30 years' WHERE published_at > now();
        UPDATE usage_load SET published_at = published_at + interval '30 years' WHERE published_at > now();
        UPDATE usage_month SET published_at = published_at + interval '30 years' WHERE published_at > now();
        UPDATE price SET superseded_at = superseded_at + interval '30 years' WHERE superseded_at > now();
        UPDATE price SET applied_at = applied_at + interval '30 years' WHERE applied_at > now();
        UPDATE uncharged_meter SET applied_at = applied_at + interval '30 years',
                                   superseded_at = superseded_at + interval '30 years';
        UPDATE publication_clock SET last_published_at = last_published_at + interval '30 years';
        RESET session_replication_role";
    sql.batch_execute(later).await.unwrap();
    let server = database.serve();
    let costs = async |request: GetMonthlyCostsRequest| {
        let answer = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
        let revisions = answer.tenant_months.iter().map(|month| month.revision.clone()).collect::<Vec<_>>();
        (answer.lines.iter().map(|line| format!("{} {}", line.quantity, line.cost)).collect::<Vec<_>>(), revisions)
    };
    let (report, bill) = (server.february().await, costs(monthly_costs(ORG)).await);
    assert_eq!(bill.0, ["13 3.90"]);
    database.try_import(&csv(&[Row::on("2022-02-01", "4")]), "default", false).await.unwrap_err();

    // As docs/operations.md says.
    let moment = "SELECT bring_back_publication_clock() <= clock_timestamp() AND bring_back_publication_clock() <= now() + interval '1 s'";
    assert!(sql.query_one(moment, &[]).await.unwrap().get::<_, bool>(0));

    let now = timestamp(UtcTime::from_chrono(chrono::Utc::now()));
    let order =
        "SELECT u.applied_at < now() AND u.superseded_at < now() AND u.applied_at = ANY (SELECT applied_at FROM price)
            AND u.superseded_at = ANY (SELECT applied_at FROM price) AS is_kept
        FROM uncharged_meter u";
    assert!(sql.query_one(order, &[]).await.unwrap().get::<_, bool>("is_kept"), "one moment with the prices");
    assert_eq!(server.february().await, report);
    assert_eq!(costs(GetMonthlyCostsRequest { as_of: now, ..monthly_costs(ORG) }).await, bill);
    let then = GetMonthlyCostsRequest { as_of: timestamp(first.published_at.unwrap()), ..monthly_costs(ORG) };
    assert_eq!(costs(then).await.0, ["11 0.11"]);
    let restated = database.import(&csv(&[Row::on("2022-02-01", "4")])).await;
    assert!(matches!(restated.loads[0].outcome, LoadOutcome::Restated(_)));
    assert_eq!(costs(monthly_costs(ORG)).await.0, ["14 4.20"]);
    assert_eq!(as_of_now(&server).await, Ok(()));
}
