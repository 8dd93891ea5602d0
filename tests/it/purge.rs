//! Records that are no longer kept: what is in force stays, bills stay, and whoever needs what is gone is told.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use secure_connect_reports::{
    client::{ClientError, UsageQuery},
    contract::proto::{GetDetailedUsageRequest, GetMonthlyCostsRequest, YearMonth},
    ingest::LoadOutcome,
    model::{Month, UtcTime},
    store::{PurgeRules, Purged, Records, present_month, purge},
};
use tonic::Code;

use crate::support::{
    Database, Server,
    builder::{ORG, Row, TENANT, TENANT_2, csv},
    calls::{detailed_usage, monthly_costs, reason},
    program, rounds, settle,
};

const CLOCK_SKEW: Duration = Duration::from_secs(300);
const AT_ONCE: PurgeRules = PurgeRules { superseded_for: Some(Duration::ZERO), months_before: None };

fn before(month: &str) -> PurgeRules {
    PurgeRules { superseded_for: None, months_before: Some(month.parse().unwrap()) }
}

async fn done(database: &Database, rules: PurgeRules) -> Purged {
    purge(&database.url, rules, CLOCK_SKEW, false).await.expect("a purge")
}

async fn number(database: &Database, sql: &str) -> i64 {
    database.sql().await.query_one(sql, &[]).await.unwrap().get(0)
}

async fn refusal(server: &Server, request: GetDetailedUsageRequest) -> (Code, String) {
    let mut stub = server.stub().await;
    let status = match stub.get_detailed_usage(request).await {
        Err(status) => status,
        Ok(answer) => {
            let mut stream = answer.into_inner();
            loop {
                match stream.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the report is whole"),
                    Err(status) => break status,
                }
            }
        }
    };
    reason(&status)
}

async fn costs(server: &Server, request: GetMonthlyCostsRequest) -> Vec<(String, String)> {
    let answer = server.stub().await.get_monthly_costs(request).await.expect("costs").into_inner();
    answer.lines.into_iter().map(|line| (line.quantity, line.cost)).collect()
}

fn march(request: GetDetailedUsageRequest) -> GetDetailedUsageRequest {
    GetDetailedUsageRequest { month: Some(YearMonth { year: 2022, month: 3 }), ..request }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_superseded_loads_go_and_those_in_force_stay() {
    let database = Database::with_catalog().await;
    let first = [Row::on("2022-02-01", "1"), Row::on("2022-02-01", "2").asset("b"), Row::on("2022-02-02", "4")];
    let report = database.import(&csv(&first)).await;
    let then = report.published_at.unwrap();
    let server = database.serve();
    let token = {
        let mut stream = server.stub().await.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap().resume_token
    };
    database.import(&csv(&[Row::on("2022-02-01", "3")])).await;
    let in_force = server.february().await;
    assert_eq!(in_force, csv(&[Row::on("2022-02-01", "3"), Row::on("2022-02-02", "4")]));

    // Superseded a moment ago, it is kept for an hour.
    let hour = PurgeRules { superseded_for: Some(Duration::from_secs(3600)), ..AT_ONCE };
    assert_eq!(done(&database, hour).await, Purged::default());
    let expected = Purged { superseded: Records { loads: 1, records: 2 }, ..Purged::default() };
    assert_eq!(purge(&database.url, AT_ONCE, CLOCK_SKEW, true).await.unwrap(), expected);
    assert_eq!(number(&database, "SELECT count(*) FROM usage_record").await, 4, "nothing was done yet");
    assert_eq!(done(&database, AT_ONCE).await, expected);
    assert_eq!(number(&database, "SELECT count(*) FROM usage_record").await, 2);
    assert_eq!(done(&database, AT_ONCE).await, Purged::default(), "there is nothing left to do");

    assert_eq!(server.february().await, in_force);
    let as_of = |time: UtcTime| {
        let micros = time.unix_micros();
        let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap();
        Some(prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos })
    };
    let purged = (Code::FailedPrecondition, "REPORT_PURGED".to_owned());
    assert_eq!(
        refusal(&server, GetDetailedUsageRequest { as_of: as_of(then), ..detailed_usage(TENANT) }).await,
        purged
    );
    let expired = (Code::FailedPrecondition, "RESUME_TOKEN_EXPIRED".to_owned());
    let resumed = GetDetailedUsageRequest { resume_token: token, ..detailed_usage(TENANT) };
    assert_eq!(refusal(&server, resumed).await, expired);
    // What the bill was then is known all the same.
    let then = GetMonthlyCostsRequest { as_of: as_of(then), ..monthly_costs(ORG) };
    assert_eq!(costs(&server, then).await, [("7".to_owned(), "0.07".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn months_past_retention_go_with_their_assets_and_bills_stay() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "5").asset("gone"), Row::on("2022-02-01", "6").asset("both")])).await;
    database.import(&csv(&[Row::on("2022-03-01", "7").asset("both")])).await;
    database.import(&csv(&[Row::on("2022-03-01", "8").asset("other").of(ORG, TENANT_2)])).await;
    let server = database.serve();
    let february = costs(&server, monthly_costs(ORG)).await;
    let expected = vec![("2022-02".parse::<Month>().unwrap(), Records { loads: 1, records: 2 })];
    let would = purge(&database.url, before("2022-03"), CLOCK_SKEW, true).await.unwrap();
    assert_eq!((would.months, would.assets), (expected.clone(), 0));
    let purged = done(&database, before("2022-03")).await;
    assert_eq!((purged.months, purged.assets), (expected, 1));
    assert_eq!(done(&database, before("2022-03")).await, Purged::default(), "there is nothing left to do");
    assert_eq!(number(&database, "SELECT count(*) FROM asset WHERE asset_id = 'gone'").await, 0);
    assert_eq!(number(&database, "SELECT count(*) FROM asset").await, 2);
    assert_eq!(number(&database, "SELECT count(*) FROM pg_class WHERE relname = 'usage_block_2022_02'").await, 0);

    let refused = (Code::FailedPrecondition, "REPORT_PURGED".to_owned());
    assert_eq!(refusal(&server, detailed_usage(TENANT)).await, refused);
    assert_eq!(costs(&server, monthly_costs(ORG)).await, february);
    let mut stream = server.stub().await.get_detailed_usage(march(detailed_usage(TENANT))).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().records[0].asset_id, "both");

    // Who needs a month after all imports its file again: the same content is not taken for what is there already.
    let again = [Row::on("2022-02-01", "5").asset("gone"), Row::on("2022-02-01", "6").asset("both")];
    let report = database.import(&csv(&again)).await;
    assert!(matches!(report.loads[0].outcome, LoadOutcome::Restated(_)));
    let mut back = again.to_vec();
    back.reverse();
    assert_eq!(server.february().await, csv(&back));
    assert_eq!(costs(&server, monthly_costs(ORG)).await, february);
    assert!(matches!(database.import(&csv(&again)).await.loads[0].outcome, LoadOutcome::Unchanged));
}

/// A download is under way while what it reads goes. It is told so; it never ends as if it were whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_download_of_what_is_purged_ends_with_its_reason() {
    for rules in [AT_ONCE, before("2022-03")] {
        let database = Database::with_catalog().await;
        // More than may be on its way to the client.
        let asset = |n| format!("{n:05}{}", "a".repeat(400));
        let rows: Vec<Row> = (0..60_000).map(|n| Row::on("2022-02-01", "1").asset(&asset(n))).collect();
        database.import(&csv(&rows)).await;
        let server = database.serve();
        let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
        let mut client = server.client().await;
        let mut download = client.detailed_usage(&query).await.unwrap();
        download.next().await.unwrap().expect("records");
        database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
        let purged = done(&database, rules).await;
        assert!(
            purged.superseded.records + purged.months.iter().map(|(_, records)| records.records).sum::<u64>() >= 60_000
        );
        let error = loop {
            match download.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the report is whole"),
                Err(error) => break error,
            }
        };
        let ClientError::Refused { code, reason, .. } = error else { panic!("{error}") };
        assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "REPORT_PURGED"));
    }
}

/// Imports and reports go on while purges run, over and over; nothing in force is ever missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_beside_imports_and_reports_lose_nothing_in_force() {
    let database = std::sync::Arc::new(Database::with_catalog().await);
    let server = database.serve();
    let importer = {
        let database = std::sync::Arc::clone(&database);
        tokio::spawn(async move {
            for n in 0..40 {
                database.import(&csv(&[Row::on("2022-02-01", &n.to_string()).asset(&format!("a{}", n % 3))])).await;
                // Into a month that is dropped again and again, with assets of its own and those of the other month.
                let old = [Row::on("2022-01-31", "1").asset(&format!("a{}", n % 5))];
                if let Err(error) = database.try_import(&csv(&old), "default", false).await {
                    assert!(error.to_string().contains("a month of the import was purged while"), "{error}");
                }
            }
        })
    };
    let mut purges = 0;
    while !importer.is_finished() {
        done(
            &database,
            PurgeRules { superseded_for: Some(Duration::ZERO), months_before: Some("2022-02".parse().unwrap()) },
        )
        .await;
        purges += 1;
        let mut stream = match server.stub().await.get_detailed_usage(detailed_usage(TENANT)).await {
            Ok(answer) => answer.into_inner(),
            // Purged between its manifest and its first record.
            Err(status) => {
                assert_eq!(reason(&status).1, "REPORT_PURGED");
                continue;
            }
        };
        while let Some(message) = stream.message().await.transpose() {
            if let Err(status) = message {
                assert_eq!(reason(&status).1, "REPORT_PURGED");
            }
        }
    }
    importer.await.unwrap();
    assert!(purges > 2);
    assert_eq!(server.february().await, csv(&[Row::on("2022-02-01", "39").asset("a0")]));
}

/// `kill -9` of a purge, at any moment: what is kept stays as it was, and the next purge does what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_purge_loses_nothing_and_the_next_one_goes_on() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let present = present_month(&database.url).await.unwrap();
    // So many loads that they take several transactions, in months that stay and in one that goes.
    let days = |month: &str, quantity: u32, asset: &str| -> String {
        let mut rows = Vec::new();
        for (tenant, day) in [TENANT, TENANT_2].into_iter().flat_map(|tenant| (1..=28).map(move |day| (tenant, day))) {
            let row = Row::on(&format!("{month}-{day:02}"), &quantity.to_string()).of(ORG, tenant);
            rows.extend((0..20).map(|n| row.clone().asset(&format!("{asset}{n:02}"))));
        }
        csv(&rows)
    };
    let (kept, old) = (present.to_string(), "2022-02");
    let purge = || {
        let mut command = program();
        command.args(["purge", "--superseded-days", "0", "--keep-months", "1"]).env("DATABASE_URL", &database.url);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program")
    };
    let report = async || server.csv(&UsageQuery::new(TENANT.parse().unwrap(), present)).await.0;
    // Of a load that is not marked, each record is there.
    let incomplete = "SELECT count(*) FROM usage_load l LEFT JOIN (
            SELECT tenant_key, usage_month, load_id, count(*) AS records FROM usage_record GROUP BY 1, 2, 3
        ) r USING (tenant_key, usage_month, load_id)
        WHERE records_purged_at IS NULL AND record_count <> coalesce(records, 0)";
    let left = "SELECT (SELECT count(*) FROM (SELECT tenant_key, usage_month, load_id FROM usage_record OFFSET 0) r
                        JOIN usage_load l USING (tenant_key, usage_month, load_id)
                        WHERE l.records_purged_at IS NOT NULL)
                     + (SELECT count(*) FROM asset WHERE asset_id LIKE 'old%')
                     + (SELECT count(*) FROM pg_class WHERE relname = 'usage_block_2022_02')";
    let rounds = rounds(8);
    let mut duration = Duration::ZERO;
    let mut cut = 0;
    for round in 0..=rounds {
        database.import(&days(old, round + 1, "old")).await;
        database.import(&days(&kept, 2 * round + 1, "kept")).await;
        database.import(&days(&kept, 2 * round + 2, "kept")).await;
        let (in_force, bill) = (report().await, costs(&server, monthly_costs(ORG)).await);
        assert!(number(&database, left).await > 0);
        if round == 0 {
            // How long a whole one takes.
            let start = Instant::now();
            assert!(purge().wait().unwrap().success());
            duration = start.elapsed();
        } else {
            let mut child = purge();
            tokio::time::sleep(duration * round / rounds).await;
            child.kill().unwrap();
            child.wait().unwrap();
            settle(&database).await;
            cut += u32::from(number(&database, left).await > 0);
        }
        assert_eq!(number(&database, incomplete).await, 0, "round {round}");
        assert!(report().await == in_force, "round {round}");
        assert_eq!(costs(&server, monthly_costs(ORG)).await, bill, "round {round}");
        assert!(purge().wait().unwrap().success());
        assert_eq!(number(&database, left).await, 0, "round {round}");
        assert!(report().await == in_force, "round {round}");
    }
    assert!(cut > 0, "no purge was killed in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_purges_and_only_one_at_a_time() {
    let database = Database::with_catalog().await;
    let sql = database.sql().await;
    sql.batch_execute("SELECT pg_advisory_lock(x'53435200000004'::bigint)").await.unwrap();
    let error = purge(&database.url, AT_ONCE, CLOCK_SKEW, false).await.expect_err("a refusal").to_string();
    assert_eq!(error, "another purge is running; wait for it to end");
    drop(sql);
    let run = |args: &[&str]| {
        let output = program().arg("purge").args(args).env("DATABASE_URL", &database.url).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    let (code, out, _) = run(&["--superseded-days", "0", "--keep-months", "1200", "--dry-run"]);
    let expected = "there are no old months to purge\nsuperseded: 1 records of 1 loads would be purged\n";
    assert_eq!((code, out.as_str()), (Some(0), expected));
    let (code, out, _) = run(&["--keep-months", "12"]);
    let expected = "2022-02: 2 records of 2 loads purged\nassets: 1 without records purged\n";
    assert_eq!((code, out.as_str()), (Some(0), expected));
    let (code, _, err) = run(&[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--superseded-days <DAYS>"), "{err}");
}
