//! Records are committed before their loads are published: until then they are in no answer, and what is never published is
//! deleted.

use std::{sync::Arc, time::Duration};

use secure_connect_reports::{
    ingest::{ImportError, ImportReport, LoadOutcome},
    store::{PurgeRules, Purged, purge},
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::support::{
    Database,
    builder::{ORG, ORG_EUR, Row, TENANT_2, TENANT_EUR, csv},
    calls::monthly_costs,
    program,
};

const PUBLISH: &str = "BEGIN; SELECT pg_advisory_xact_lock(x'0053435200000001'::bigint)";
/// Old months, of which there is nothing: what imports have left goes all the same.
const NO_MONTHS: &str = "1990-01";

/// An import that has committed its records, and waits to publish them.
struct Waiting {
    publisher: Client,
    import: JoinHandle<Result<ImportReport, ImportError>>,
}

impl Waiting {
    async fn start(database: &Arc<Database>, content: String) -> Self {
        let publisher = database.sql().await;
        publisher.batch_execute(PUBLISH).await.unwrap();
        let importer = Arc::clone(database);
        let import = tokio::spawn(async move { importer.try_import(&content, "default", false).await });
        while number(
            database,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'",
        )
        .await
            == 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { publisher, import }
    }

    async fn end(self) -> Result<ImportReport, ImportError> {
        self.publisher.batch_execute("ROLLBACK").await.unwrap();
        self.import.await.unwrap()
    }
}

async fn number(database: &Database, sql: &str) -> i64 {
    database.sql().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// Records that no load has, and notes of imports.
async fn unpublished(database: &Database) -> (i64, i64) {
    let records = "SELECT count(*) FROM (SELECT tenant_key, load_id FROM usage_record OFFSET 0) r WHERE NOT EXISTS (
        SELECT FROM usage_load l WHERE l.tenant_key = r.tenant_key AND l.load_id = r.load_id)";
    (number(database, records).await, number(database, "SELECT count(*) FROM unpublished_import").await)
}

async fn purged(database: &Database, months_before: &str, dry_run: bool) -> Purged {
    let rules = PurgeRules { superseded_for: None, months_before: Some(months_before.parse().unwrap()) };
    purge(&database.url, rules, Duration::from_secs(300), dry_run).await.unwrap()
}

async fn database() -> Arc<Database> {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    Arc::new(database)
}

/// A restatement of the first day, and a day that is new, of two tenants.
fn content() -> String {
    csv(&[Row::on("2022-02-01", "2"), Row::on("2022-02-02", "3"), Row::on("2022-02-02", "4").of(ORG, TENANT_2)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_in_no_answer_until_their_loads_are_published() {
    let database = database().await;
    let server = database.serve();
    let waiting = Waiting::start(&database, content()).await;
    assert_eq!(unpublished(&database).await, (3, 1));
    assert_eq!(server.february().await, csv(&[Row::on("2022-02-01", "1")]));
    let quantity = async || {
        let answer = server.stub().await.get_monthly_costs(monthly_costs(ORG)).await.unwrap().into_inner();
        answer.lines.iter().map(|line| line.quantity.clone()).collect::<Vec<_>>()
    };
    assert_eq!(quantity().await, ["1"]);
    // Of people with SQL.
    assert_eq!(number(&database, "SELECT count(*) FROM detailed_usage_report").await, 1);
    let report = waiting.end().await.unwrap();
    assert_eq!(report.loads.len(), 3);
    assert_eq!(quantity().await, ["5", "4"], "of each tenant");
    assert_eq!(number(&database, "SELECT count(*) FROM detailed_usage_report").await, 3);
    assert_eq!(unpublished(&database).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_import_has_published_meanwhile_is_deleted() {
    let database = database().await;
    let waiting = Waiting::start(&database, content()).await;
    let importer = Arc::clone(&database);
    let other = tokio::spawn(async move { importer.try_import(&content(), "default", false).await });
    while unpublished(&database).await.1 < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let reports = [waiting.end().await.unwrap(), other.await.unwrap().unwrap()];
    let unchanged = |report: &ImportReport| {
        report.loads.iter().filter(|load| matches!(load.outcome, LoadOutcome::Unchanged)).count()
    };
    let mut counts = reports.each_ref().map(unchanged);
    counts.sort_unstable();
    assert_eq!(counts, [0, 3]);
    assert_eq!(unpublished(&database).await, (0, 0));
    assert_eq!(number(&database, "SELECT count(*) FROM usage_record").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_import_left_is_deleted_by_the_next_one_of_a_tenant_of_it_or_by_a_purge() {
    let database = database().await;
    let lose = async || {
        let waiting = Waiting::start(&database, content()).await;
        // As when the machine is gone: the one that would tidy up first, and then the one that waits.
        let kill = "SELECT count(pg_terminate_backend(pid, 5000)) FROM (
                SELECT pid FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'secure-connect-reports'
                ORDER BY wait_event_type = 'Lock' OFFSET 0
            ) AS connections";
        assert!(number(&database, kill).await >= 2);
        waiting.end().await.expect_err("its connections are gone");
        assert_eq!(unpublished(&database).await, (3, 1));
    };
    lose().await;
    database.import(&csv(&[Row::on("2022-03-01", "1").of(ORG_EUR, TENANT_EUR)])).await;
    assert_eq!(unpublished(&database).await, (3, 1), "of other tenants");
    database.import(&csv(&[Row::on("2022-03-01", "1").of(ORG, TENANT_2)])).await;
    assert_eq!(unpublished(&database).await, (0, 0));

    lose().await;
    assert_eq!(purged(&database, NO_MONTHS, true).await.unpublished, 3);
    assert_eq!(unpublished(&database).await, (3, 1));
    let mut command = program();
    command.args(["purge", "--keep-months", "600"]).env("DATABASE_URL", &database.url);
    let (ok, out, log) = tokio::task::spawn_blocking(move || crate::support::run(&mut command)).await.unwrap();
    assert!(ok && out.contains("imports that did not come to their end: 3 records purged\n"), "{out}{log}");
    assert_eq!(unpublished(&database).await, (0, 0));
    assert_eq!(database.import(&content()).await.loads.len(), 3);
}

/// As what a machine of Citus commits that was away: it appears when its import is long gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_appears_when_its_import_has_ended_is_deleted_then() {
    let database = database().await;
    let (sql, late) = (database.sql().await, database.sql().await);
    sql.batch_execute("CREATE TABLE late (LIKE usage_block)").await.unwrap();
    let lose = async || {
        let waiting = Waiting::start(&database, content()).await;
        let loads: String = sql.query_one("SELECT load_ids::text FROM unpublished_import", &[]).await.unwrap().get(0);
        let is_it = format!("load_id = ANY ('{loads}')");
        for statement in [
            format!("INSERT INTO late SELECT * FROM usage_block WHERE {is_it}"),
            format!("DELETE FROM usage_block WHERE {is_it}"),
            // Its session is gone, and has deleted nothing.
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()
               AND application_name = 'secure-connect-reports' ORDER BY wait_event_type = 'Lock'"
                .to_owned(),
        ] {
            sql.batch_execute(&statement).await.unwrap();
        }
        waiting.end().await.expect_err("its connections are gone");
        assert_eq!(unpublished(&database).await, (0, 1));
    };
    let next = async |quantity: &str| {
        database.import(&csv(&[Row::on("2022-03-01", quantity).of(ORG, TENANT_2)])).await;
    };
    lose().await;
    late.batch_execute("BEGIN; INSERT INTO usage_block SELECT * FROM late").await.unwrap();
    next("1").await;
    assert_eq!(purged(&database, NO_MONTHS, false).await.unpublished, 0);
    assert_eq!(unpublished(&database).await, (0, 1), "it is not forgotten");
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(unpublished(&database).await, (3, 1));
    next("2").await;
    assert_eq!(unpublished(&database).await, (0, 0));

    // What never appears is not waited for.
    lose().await;
    next("3").await;
    assert_eq!(unpublished(&database).await, (0, 1));
    sql.batch_execute("UPDATE unpublished_import SET discarded_at = discarded_at - interval '61 min'").await.unwrap();
    next("4").await;
    assert_eq!(unpublished(&database).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_leaves_an_import_that_runs_alone_but_for_months_that_go() {
    let database = database().await;
    let waiting = Waiting::start(&database, content()).await;
    assert_eq!(purged(&database, NO_MONTHS, false).await.unpublished, 0);
    assert_eq!(unpublished(&database).await, (3, 1));
    waiting.end().await.unwrap();
    assert_eq!(unpublished(&database).await, (0, 0));

    // Its asset is used later, too, so that the purge need not wait for imports.
    database.import(&csv(&[Row::on("2022-03-15", "1"), Row::on("2022-03-15", "1").of(ORG, TENANT_2)])).await;
    let march = csv(&[Row::on("2022-03-01", "5"), Row::on("2022-02-03", "6")]);
    let waiting = Waiting::start(&database, march.clone()).await;
    purged(&database, "2022-03", false).await;
    let error = waiting.end().await.expect_err("records of it are gone").to_string();
    assert_eq!(error, "a month of the import was purged while the import ran; nothing was published, run it again");
    assert_eq!(unpublished(&database).await, (0, 0));
    assert_eq!(database.import(&march).await.loads.len(), 2);
}
