//! Kills while months are closed; closers and importers at once.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use secure_connect_reports::billing::{CloseError, CloseOutcome, CloseRequest};

use super::books::Books;
use crate::support::{
    builder::{CATALOG, ORG, Row, TENANT, TENANT_2, csv},
    program, rounds, settle,
};

/// The months from January 2000 on.
fn month(n: u32) -> String {
    format!("{:04}-{:02}", 2000 + n / 12, n % 12 + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_close_has_closed_the_month_or_left_it_open() {
    let books = Books::open().await;
    books.database.apply(&CATALOG.replace("2022-01", "2000-01")).await;
    let rounds = rounds(12);
    for n in 0..=rounds + 1 {
        let rows: Vec<Row> = (0..40)
            .map(|asset| {
                let tenant = if asset % 2 == 0 { TENANT } else { TENANT_2 };
                Row::on(&format!("{}-01", month(n)), "7").of(ORG, tenant).asset(&asset.to_string())
            })
            .collect();
        books.database.import(&csv(&rows)).await;
    }
    let close = |of: &str| {
        let mut command = program();
        command.args(["close", "--organization", ORG, "--month", of]).env("DATABASE_URL", &books.database.url);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program")
    };
    let start = Instant::now();
    assert!(close(&month(0)).wait().unwrap().success());
    let duration = start.elapsed();
    let sql = books.database.sql().await;
    let mut closed = 0;
    for round in 0..rounds {
        let of = month(round + 1);
        let delay = duration * round / rounds.saturating_sub(2).max(1);
        let mut child = close(&of);
        tokio::time::sleep(delay).await;
        child.kill().unwrap();
        child.wait().unwrap();
        settle(&books.database).await;
        let lines = "SELECT count(*) FROM statement_line l WHERE NOT EXISTS (
            SELECT FROM statement s WHERE s.statement_id = l.statement_id)";
        assert_eq!(sql.query_one(lines, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing is left of what was killed");
        let outcome = books.close(&of).await.outcome;
        closed += u32::from(outcome == CloseOutcome::Unchanged);
        let bill = books.costs(&of, &of).await;
        assert_eq!((bill.lines.len(), bill.totals[0].amount_due.as_str()), (2, "2.80"), "round {round}");
    }
    let gaps = "SELECT count(*) = max(sequence_number) FROM statement";
    assert!(sql.query_one(gaps, &[]).await.unwrap().get::<_, bool>(0), "numbers have no gaps");
    eprintln!("{closed} of {rounds} kills came too late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_closers_and_an_importer_lose_nothing() {
    let books = Arc::new(Books::open().await);
    books.database.apply(&CATALOG.replace("2022-01", "2000-01")).await;
    let rounds = rounds(8);
    books.database.import(&csv(&[Row::on("2000-01-01", "1")])).await;
    for round in 0..rounds {
        let of = month(round);
        let closers: Vec<_> = (0..2)
            .map(|_| {
                let (books, of) = (Arc::clone(&books), of.clone());
                tokio::spawn(async move {
                    let request = CloseRequest {
                        organization_id: ORG.parse().unwrap(),
                        month: of.parse().unwrap(),
                        allow_unpriced: false,
                        allow_missing_days: true,
                        dry_run: false,
                    };
                    loop {
                        match books.try_close(&request).await {
                            Err(CloseError::Conflict) => {}
                            closed => return closed.expect("a statement"),
                        }
                    }
                })
            })
            .collect();
        let importer = {
            let (books, of) = (Arc::clone(&books), of.clone());
            tokio::spawn(async move {
                for day in 1..=3 {
                    let row = |quantity: u32| Row::on(&format!("{of}-{day:02}"), &quantity.to_string());
                    books.database.import(&csv(&[row(round + day).asset("a"), row(day).asset("b").bandwidth()])).await;
                }
                // Of the month before, too.
                if let Some(before) = round.checked_sub(1) {
                    books.database.import(&csv(&[Row::on(&format!("{}-09", month(before)), "100")])).await;
                }
            })
        };
        let mut outcomes = Vec::new();
        for closer in closers {
            let closed = closer.await.unwrap();
            outcomes.push((closed.outcome, closed.statement.unwrap().digest));
        }
        importer.await.unwrap();
        let done = outcomes.iter().filter(|(outcome, _)| *outcome == CloseOutcome::Closed).count();
        assert_eq!((done, outcomes[0].1), (1, outcomes[1].1), "one of them closes, and both have its statement");
        let first = month(round.saturating_sub(10));
        books.check_reconciled(&first, &of, &month(round + 1)).await;
    }
}

/// An import waits for the head of a statement, and not for its lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_does_not_wait_for_a_statement_that_is_being_written() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    // Nobody can write lines.
    let blocker = books.database.sql().await;
    blocker.batch_execute("BEGIN; LOCK TABLE statement_line IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let close = books.close("2022-02");
    let import = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let rows = csv(&[Row::on("2022-02-02", "2")]);
        let import = books.database.import(&rows);
        tokio::time::timeout(Duration::from_secs(20), import).await.expect("no waiting");
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (closed, ()) = tokio::join!(close, import);
    // What came meanwhile is not in it.
    assert_eq!(closed.amount_due().to_plain_string(), "0.01");
    assert_eq!(books.costs("2022-03", "2022-03").await.totals[0].adjustment, "0.02");
}
