//! `kill -9` of an import, at any moment: the file is in as a whole, or not at all.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use secure_connect_reports::client::UsageQuery;

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, TENANT_2, csv},
    program, rounds, settle,
};

fn content(quantity: &str) -> String {
    let mut rows = Vec::new();
    for tenant in [TENANT, TENANT_2] {
        for day in ["2022-01-31", "2022-02-01"] {
            rows.extend((0..4000).map(|n| Row::on(day, quantity).of(ORG, tenant).asset(&format!("{n:04}"))));
        }
    }
    csv(&rows)
}

async fn reports(server: &Server) -> Vec<String> {
    let mut reports = Vec::new();
    for tenant in [TENANT, TENANT_2] {
        for month in ["2022-01", "2022-02"] {
            let query = UsageQuery::new(tenant.parse().unwrap(), month.parse().unwrap());
            reports.push(server.csv(&query).await.0);
        }
    }
    reports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_import_is_in_as_a_whole_or_not_at_all() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let (before, after) = (content("1"), content("2"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("after.csv");
    std::fs::write(&file, &after).unwrap();
    let import = || {
        let mut command = program();
        command.arg("import").arg(&file).env("DATABASE_URL", &database.url);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program")
    };

    database.import(&after).await;
    let server = database.serve();
    let reports_after = reports(&server).await;
    database.import(&before).await;
    let reports_before = reports(&server).await;
    assert_ne!(reports_before, reports_after);
    let start = Instant::now();
    assert!(import().wait().unwrap().success());
    let duration = start.elapsed();
    database.import(&before).await;

    let rounds = rounds(12);
    let mut whole = 0;
    for round in 0..rounds {
        // From the first moment to some time after the last.
        let delay = duration * round / rounds.saturating_sub(2).max(1);
        let mut child = import();
        tokio::time::sleep(delay).await;
        child.kill().unwrap();
        child.wait().unwrap();
        settle(&database).await;
        let found = reports(&server).await;
        if found == reports_after {
            whole += 1;
            database.import(&before).await;
        } else {
            assert!(found == reports_before, "round {round}: killed after {delay:?}");
        }
    }
    assert!(whole < rounds, "no import was killed in time");

    // And at the two moments that matter most: while it writes, and while it waits to publish what it has written.
    let mut publisher = database.sql().await;
    for (stage, is_written) in [("query LIKE '%COPY usage_block%'", false), ("wait_event = 'advisory'", true)] {
        // Without what was left before.
        database.import(&content("3")).await;
        database.import(&before).await;
        let lock = publisher.transaction().await.unwrap();
        lock.batch_execute("SELECT pg_advisory_xact_lock(x'53435200000001'::bigint)").await.unwrap();
        let mut child = import();
        wait_for_stage(&database, stage).await;
        child.kill().unwrap();
        child.wait().unwrap();
        lock.rollback().await.unwrap();
        settle(&database).await;
        assert!(reports(&server).await == reports_before, "killed at {stage}");
        // What it has committed is there, and is in no report.
        let records = if is_written { 16_000 } else { 0 };
        assert_eq!(left(&database).await, (records, i64::from(is_written)), "killed at {stage}");
    }

    let mut child = import();
    assert!(child.wait().unwrap().success());
    assert_eq!(reports(&server).await, reports_after);
    assert_eq!(left(&database).await, (0, 0), "what earlier ones had left");
}

/// Records that are of no load, and imports that have not struck out what they wrote.
async fn left(database: &Database) -> (i64, i64) {
    let left = "SELECT (SELECT coalesce(sum(b.record_count), 0)::bigint FROM (SELECT * FROM usage_block OFFSET 0) b WHERE NOT EXISTS (
            SELECT FROM usage_load l WHERE l.tenant_key = b.tenant_key AND l.load_id = b.load_id)),
        (SELECT count(*) FROM unpublished_import)";
    let row = database.sql().await.query_one(left, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn wait_for_stage(database: &Database, stage: &str) {
    let sql = database.sql().await;
    let reached = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND {stage}"
    );
    for _ in 0..4000 {
        if sql.query_one(&reached, &[]).await.unwrap().get(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never seen: {stage}");
}
