//! Numbers, times and flags as other programs write them.

use super::{HQ, Line, assert_refused, assert_taken, file, import, may, report, run, sample};
use crate::support::program;

#[tokio::test]
async fn exact_spellings_are_taken_and_written_canonically() {
    let database = sample().await;
    let quantities = [
        ("9.984E-7", "0.0000009984"),
        ("1.5e+3", "1500"),
        ("0E-18", "0.000000000000000000"),
        (".5", "0.5"),
        ("5.", "5"),
        ("+7", "7"),
        ("-0.0", "0.0"),
        (" 8.50 ", "8.50"),
        ("1.00000000000000000000000000000000000000000000", "1.0000000000000000000000000000000000000"),
    ];
    let times = [
        ("2023-05-01T00:00Z", "2023-05-01T00:00:00Z"),
        ("2023-05-01 00:00:00+00", "2023-05-01T00:00:00Z"),
        ("2023-05-01T02:00:00+02:00", "2023-05-01T00:00:00Z"),
        ("2023-04-30T19:30-0430", "2023-05-01T00:00:00Z"),
        ("2023-05-01 00:00:00 UTC", "2023-05-01T00:00:00Z"),
        ("2023-05-01T00:00:00+0000", "2023-05-01T00:00:00Z"),
        ("2023-05-01T00:00:00.0000000Z", "2023-05-01T00:00:00Z"),
        ("2023-05-01T00:00:00.1234560000Z", "2023-05-01T00:00:00.123456Z"),
        ("2023-04-30T24:00:00Z", "2023-05-01T00:00:00Z"),
    ];
    let flags = ["f", "false", "0", "False", "FALSE", " F", "f", "0", "FALSE"];
    let ids: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let lines: Vec<Line<'_>> = (0..9)
        .map(|n| Line { start: times[n].0, trial: flags[n], ..Line::new("A", &ids[n], quantities[n].0) })
        .collect();
    assert_taken(&import(&database, file(&lines), &[]).await, 9);
    let rows = report(&database, HQ, "2023-05").await;
    for (n, row) in rows.iter().enumerate() {
        assert_eq!((row[9].as_str(), row[7].as_str(), row[12].as_str()), (quantities[n].1, times[n].1, "FALSE"), "{n}");
    }
    // What was written is the same content.
    let canonical: Vec<Line<'_>> =
        (0..9).map(|n| Line { start: times[n].1, ..Line::new("A", &ids[n], quantities[n].1) }).collect();
    assert_eq!(import(&database, file(&canonical), &[]).await.out, "-: unchanged (9 records, 1 loads)\n");

    let trials: Vec<Line<'_>> = ["t", "TRUE", "true", "1"]
        .iter()
        .zip(&ids)
        .map(|(trial, id)| Line {
            trial,
            trial_expiry: "2023-06-01 00:00:00+02",
            start: "2023-05-03T00:00Z",
            end: "2023-05-03T01:00Z",
            ..Line::new("A", id, "1")
        })
        .collect();
    assert_taken(&import(&database, file(&trials), &[]).await, 4);
    let rows = report(&database, HQ, "2023-05").await;
    assert!(rows[9..].iter().all(|row| row[12] == "TRUE" && row[13] == "2023-05-31T22:00:00Z"), "{rows:?}");
}

/// A moment to fix a report to has the same spellings.
#[tokio::test]
async fn a_moment_of_the_past_may_be_in_another_zone() {
    let database = sample().await;
    assert_taken(&import(&database, file(&[Line::new("A", "a", "1")]), &[]).await, 1);
    let now = chrono::Utc::now();
    assert!(import(&database, file(&[Line::new("A", "a", "2")]), &[]).await.ok);
    let server = database.serve();
    let kolkata = now.with_timezone(&chrono::FixedOffset::east_opt(5 * 3600 + 1800).unwrap());
    for as_of in [now.format("%Y-%m-%dT%H:%M:%S%.9f UTC"), kolkata.format("%Y-%m-%d %H:%M:%S%.6f%z")] {
        // A clock counts nanoseconds, and a report microseconds.
        let as_of = as_of.to_string().replace(&now.format("%.9f").to_string(), &now.format("%.6f").to_string());
        let mut command = program();
        command.args(["usage", "--tenant", HQ, "--month", "2023-05", "-o", "-", "--as-of", &as_of]);
        command.args(["--server", &server.url()]);
        let said = run(command, "").await;
        assert!(said.ok && said.out.contains(",1,EU,") && !said.out.contains(",2,EU,"), "{as_of}: {said:?}");
    }
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_how_to_mend_it() {
    let database = sample().await;
    let good = || Line::new("A", "a", "1");
    for (line, problem) in [
        (
            Line { quantity: "-5", ..good() },
            "line 2, quantity \"-5\": is negative; to correct usage, deliver the whole day again with the correct quantities",
        ),
        (Line { quantity: "-1e-9", ..good() }, "line 2, quantity \"-1e-9\": is negative;"),
        (Line { quantity: "1e38", ..good() }, "line 2, quantity \"1e38\": has more than 38 digits"),
        (Line { quantity: "", ..good() }, "line 2, quantity \"\": is missing"),
        (
            Line { quantity: "\"1.234,5\"", ..good() },
            "line 2, quantity \"1.234,5\": not a decimal number such as 12.50",
        ),
        (Line { start: "", ..good() }, "line 2, start \"\": is missing"),
        (Line { end: " ", ..good() }, "line 2, end \" \": is missing"),
        (
            Line { start: "2023-05-01T00:00:00.0000001Z", ..good() },
            "line 2, start \"2023-05-01T00:00:00.0000001Z\": is more precise than a microsecond",
        ),
        (
            Line { start: "2023-05-01 00:00:00", ..good() },
            "line 2, start \"2023-05-01 00:00:00\": has no time zone: append Z for UTC",
        ),
        (
            Line { start: "05/01/2023 00:00", ..good() },
            "line 2, start \"05/01/2023 00:00\": not an ISO 8601 date and time",
        ),
        (Line { trial: "yes", ..good() }, "line 2, trial \"yes\": not TRUE or FALSE"),
        (Line { trial: "", ..good() }, "line 2, trial \"\": is missing"),
        (
            Line { start: "2023-05-31T12:00:00Z", end: "2023-06-01T12:00:00Z", ..good() },
            "line 2, end \"2023-06-01T12:00:00Z\": the period extends beyond the end of 2023-05 (UTC); split it at 2023-06-01T00:00:00Z",
        ),
        // What other programs write for no time.
        (
            Line { end: "0001-01-01T00:00:00Z", ..good() },
            "line 2, end \"0001-01-01T00:00:00Z\": the end must be after the start",
        ),
        (
            Line { start: "2024-12-31T23:59:59Z", ..good() },
            "line 2, end \"2023-05-02T00:00:00Z\": the end must be after the start",
        ),
        (Line { start: "1684108800", ..good() }, "line 2, start \"1684108800\": not an ISO 8601 date and time"),
        (
            Line { end: "2023-05-02T01:00:01Z", ..good() },
            "line 2, end \"2023-05-02T01:00:01Z\": the period is longer than 25 hours; split it",
        ),
    ] {
        assert_refused(&import(&database, file(&[line]), &[]).await, &[problem]);
    }
    // A local day on which clocks are put back.
    let long = Line { start: "2023-10-29T00:00:00+02:00", end: "2023-10-30T00:00:00+01:00", ..good() };
    assert_taken(&import(&database, file(&[long]), &[]).await, 1);
}

/// People with SQL take a report out by `\copy`, in whatever time zone they are.
#[tokio::test]
async fn what_copy_writes_is_imported() {
    let database = sample().await;
    let lines = [
        Line {
            trial: "TRUE",
            trial_expiry: "2023-06-01T00:00:00.25Z",
            ..Line::new("\"Smith, \"\"Jo\"\"\nEsq.\"", "a", "1.50")
        },
        Line { start: "2023-05-01T00:00:00.5Z", ..Line::new("\"\"", "b", "0.00") },
        Line::new("\\.", "c", "12345678901234567890.123456789012345678"),
    ];
    assert_taken(&import(&database, file(&lines), &[]).await, 3);
    let sql = database.sql().await;
    for zone in ["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Amsterdam"] {
        sql.batch_execute(&format!("SET timezone = '{zone}'")).await.unwrap();
        let copied =
            sql.copy_out("COPY (SELECT * FROM detailed_usage_report) TO STDOUT (FORMAT csv, HEADER)").await.unwrap();
        let pieces: Vec<bytes::Bytes> = futures_util::TryStreamExt::try_collect(copied).await.unwrap();
        let said = import(&database, pieces.concat(), &[]).await;
        assert_eq!(said.out, "-: unchanged (3 records, 1 loads)\n", "{zone}: {said:?}");
    }
}

/// Composed characters and their parts look alike: they find each other, and stay what they are.
#[tokio::test]
async fn names_are_compared_as_people_see_them() {
    const COMPOSED: &str = "Z\u{fc}rich";
    const DECOMPOSED: &str = "Zu\u{308}rich";
    let database = sample().await;
    database.apply(&format!(
        "[[tenants]]\nid = \"{HQ}\"\norganization_id = \"{}\"\nname = \"contoso-{DECOMPOSED}\"\nplan = \"essentials\"\nstatus = \"NORMAL\"\n",
        super::CONTOSO
    ))
    .await;
    let lines = [Line::new(DECOMPOSED, DECOMPOSED, "1"), Line::new("x", "x", "2")];
    assert_taken(&import(&database, file(&lines), &[]).await, 2);
    // Another form of the id is another asset, and seldom meant.
    let both = [Line::new(COMPOSED, COMPOSED, "3"), lines[0], Line::new("x", "x", "2")];
    let next_day =
        [Line { start: "2023-05-02T00:00:00Z", end: "2023-05-03T00:00:00Z", ..Line::new("y", COMPOSED, "4") }];
    const NEW: &str = "Z\\u{fc}rich";
    const OLD: &str = "Zu\\u{308}rich";
    for (delivery, line, id, other) in [(&both[..], 3, OLD, NEW), (&next_day, 2, NEW, OLD)] {
        let said = import(&database, file(delivery), &["--dry-run"]).await;
        let warning = format!(
            "warning: 1 asset ids differ from another one only in their Unicode normal form; the first is line {line}: USER \"{id}\" and \"{other}\" of tenant {HQ} look alike, but are two assets\n"
        );
        assert!(said.ok && said.err == warning, "{said:?}");
    }
    assert!(import(&database, file(&both), &[]).await.ok);
    assert_eq!(may(&database).await.len(), 3);
    // It was told when it came.
    let said = import(&database, file(&next_day), &["--dry-run"]).await;
    assert!(said.ok && said.err.is_empty(), "{said:?}");

    let server = database.serve();
    let client = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).args(["--server", &server.url()]);
        run(command, "")
    };
    for name in [COMPOSED, DECOMPOSED, "z\u{dc}RICH", "ZU\u{308}RICH"] {
        let said = client(&["tenants", name, "--format", "csv"]).await;
        assert!(said.out.contains(&format!(",contoso-{DECOMPOSED},")), "{name}: {said:?}");
    }
    for name in [COMPOSED, DECOMPOSED] {
        let tenant = format!("contoso-{name}");
        let said = client(&["usage", "--tenant", &tenant, "--month", "2023-05", "--asset-id", name, "-o", "-"]).await;
        assert!(said.ok, "{said:?}");
        // As it was delivered.
        assert!(said.out.contains(&format!(",{DECOMPOSED},{DECOMPOSED},USER,")), "{said:?}");
        assert!(said.out.contains(&format!(",{COMPOSED},{COMPOSED},USER,")), "{said:?}");
        assert_eq!(said.out.lines().count(), 3);
    }
}
