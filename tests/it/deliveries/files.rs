//! Quotes, lines, doubles, and several files as one delivery.

use super::{
    CONTOSO, GLOBAL, HEADER, HQ, Line, assert_refused, assert_taken, file, import, may, report, row, run, sample,
};
use crate::support::{Database, program};

const UNCLOSED: &str = "the quote that begins this field is never closed";
const BEHIND: &str = "text follows the closing quote of this field";
const STRAY: &str = "this field contains a quote but is not in quotes";

/// Whatever a lenient reader would make of it.
#[tokio::test]
async fn quotes_are_closed_and_doubled_or_refused_where_they_begin() {
    let database = sample().await;
    let a = |name| Line::new(name, "a1", "1");
    let b = |name| Line::new(name, "b1", "1");
    for (lines, problems) in [
        // A row, and 100 hours, would be gone in a name.
        (
            vec![a("Front"), Line::new("\"Dolphin 24in", "a2", "100"), Line::new("\"Heron 27in", "a3", "1"), b("Back")],
            vec![
                format!(
                    "line 3, assetName \"\\\"Dolphin 24in,a2,USER,user_hours_essentials,4b400c00-9e3b-59ed-b541-4ee514da78c7…\": {BEHIND}"
                ),
                format!(
                    "line 4, assetName \"\\\"Heron 27in,a3,USER,user_hours_essentials,4b400c00-9e3b-59ed-b541-4ee514da78c7,2…\": {UNCLOSED}"
                ),
            ],
        ),
        (vec![a("\"Front\" desk")], vec!["line 2, assetName \"\\\"Front\\\" desk,a1,".to_string()]),
        (
            vec![a("\"Front \\\"A\\\" desk\"")],
            vec!["line 2, assetName \"\\\"Front \\\\\\\"A\\\\\\\" desk\\\",a1,".to_owned()],
        ),
        (
            vec![a("24\" screen"), b(" \"x\""), Line::new("ok", "c", "1")],
            vec!["line 2, assetName \"24\\\" screen,a1,".to_owned(), "line 3, assetName \" \\\"x\\\",b1,".to_owned()],
        ),
        (vec![a("\"two\nlines\""), b("\"Front\" desk")], vec!["line 4, assetName".to_owned()]),
        (
            vec![a("ok"), Line { trial_expiry: "\"", ..b("ok") }],
            vec![format!("line 3, trialExpiry \"\\\"\": {UNCLOSED}")],
        ),
        (vec![Line { trial_expiry: "\"\"x", ..b("ok") }], vec![format!("line 2, trialExpiry \"\\\"\\\"x\": {BEHIND}")]),
        (vec![Line { trial_expiry: "x\"", ..b("ok") }], vec![format!("line 2, trialExpiry \"x\\\"\": {STRAY}")]),
    ] {
        let problems: Vec<&str> = problems.iter().map(String::as_str).collect();
        assert_refused(&import(&database, file(&lines), &[]).await, &problems);
    }
    assert_eq!(may(&database).await, Vec::<[String; 3]>::new());

    let names = ["\"Dolphin 24\"\" screen\"", "\"Smith, Jane\"", "\"two\nlines\"", "\"cr\rlf\r\n\"", "\"\"", "'x'"];
    let lines: Vec<Line<'_>> =
        names.iter().zip(["1", "2", "3", "4", "5", "6"]).map(|(name, id)| Line::new(name, id, "1")).collect();
    assert_taken(&import(&database, file(&lines), &[]).await, 6);
    let found: Vec<String> = may(&database).await.into_iter().map(|[name, ..]| name).collect();
    assert_eq!(found, ["Dolphin 24\" screen", "Smith, Jane", "two\nlines", "cr\rlf\r\n", "", "'x'"]);
}

#[tokio::test]
async fn lines_are_those_of_an_editor() {
    let database = sample().await;
    let good = || Line::new("A", "a", "1");
    let bad = || Line::new("B", "b", "bad");
    let reason = "quantity \"bad\": not a decimal number";
    for (text, line) in [
        (file(&[good(), bad()]), 3),
        (file(&[good(), bad()]).replacen('\n', "\n\n\n", 1), 5),
        (file(&[Line { name: "\"a\nb\n\nc\"", ..good() }, bad()]), 6),
        (format!("\n\n{}", file(&[bad()])), 4),
        (file(&[bad()]).trim_end().to_owned(), 2),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            let said = import(&database, text.replace('\n', end), &["--dry-run"]).await;
            assert_refused(&said, &[&format!("line {line}, {reason}")]);
        }
    }
    // Also where another line is named.
    let text = file(&[Line { name: "\"a\nb\"", ..good() }, Line::new("C", "c", "1"), good()]);
    for end in ["\n", "\r\n", "\r"] {
        let said = import(&database, text.replace('\n', end), &["--dry-run"]).await;
        assert_refused(
            &said,
            &["line 5, assetId \"a\": has the same asset, meter, period, region, platform and trial as line 2; "],
        );
    }
}

#[tokio::test]
async fn a_trial_that_ends_within_the_day_makes_two_records() {
    let database = sample().await;
    let usage = |quantity, trial| Line { trial, ..Line::new("A", "a", quantity) };
    assert_taken(&import(&database, file(&[usage("9", "TRUE"), usage("15", "FALSE")]), &[]).await, 2);
    let rows = report(&database, HQ, "2023-05").await;
    let found: Vec<(&str, &str)> = rows.iter().map(|row| (row[9].as_str(), row[12].as_str())).collect();
    assert_eq!(found, [("15", "FALSE"), ("9", "TRUE")]);
    // The same file again, in another order, changes nothing.
    let again = import(&database, file(&[usage("15", "FALSE"), usage("9", "TRUE")]), &[]).await;
    assert_eq!(again.out, "-: unchanged (2 records, 1 loads)\n");
    let twice = import(&database, file(&[usage("9", "TRUE"), usage("15", "FALSE"), usage("1", "t")]), &[]).await;
    assert_refused(
        &twice,
        &[
            "line 4, assetId \"a\": has the same asset, meter, period, region, platform and trial as line 2; add up the quantities, or give each row its own period",
        ],
    );
}

/// Files with their contents, imported by one command in their folder.
async fn deliver(database: &Database, files: &[(&str, String)], options: &[&str]) -> super::Said {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.arg("import").args(options).current_dir(folder.path()).env("DATABASE_URL", &database.url);
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
        command.arg(name);
    }
    run(command, "").await
}

#[tokio::test]
async fn one_command_is_one_delivery() {
    let database = sample().await;
    let of = |id| Line::new("A", id, "1");
    let next_day = |id| Line { start: "2023-05-02T00:00:00Z", end: "2023-05-03T00:00:00Z", ..of(id) };
    let part_0 = || ("part-0.csv", file(&[of("a"), next_day("a")]));
    let part_1 = |lines: &[Line<'_>]| ("part-1.csv", file(lines));

    // A day of which some rows are in one file, and some in another, is one load.
    let said = deliver(&database, &[part_0(), part_1(&[of("b"), of("c")])], &[]).await;
    assert!(said.ok && said.err.is_empty(), "{said:?}");
    assert_eq!(said.out, "2 files: 4 records; 2 loads published, 0 restated, 0 unchanged\n");
    let before = may(&database).await;
    assert_eq!(before, [row("A", "a", "1"), row("A", "b", "1"), row("A", "c", "1"), row("A", "a", "1")]);

    // However it is cut into files.
    let whole = file(&[of("c"), of("b"), of("a"), next_day("a")]);
    let said = deliver(&database, &[("whole.csv", whole), ("empty.csv", HEADER.to_owned())], &[]).await;
    assert_eq!(said.out, "2 files: unchanged (4 records, 2 loads)\n");

    // All of it, or nothing; each problem with its file.
    let said = deliver(&database, &[part_0(), part_1(&[of("b"), Line { quantity: "-1", ..of("d") }])], &[]).await;
    assert!(!said.ok && said.out.is_empty());
    assert_eq!(
        said.err,
        "error: none of the 2 files was imported, and nothing was changed:\n  part-1.csv, line 3, quantity \"-1\": is negative; to correct usage, deliver the whole day again with the correct quantities\n"
    );
    let said = deliver(&database, &[part_0(), part_1(&[of("z"), of("a")])], &[]).await;
    assert!(said.err.contains("\n  part-1.csv, line 3, assetId \"a\": has the same asset, meter, period, region, platform and trial as line 2 of part-0.csv; add up the quantities, or give each row its own period\n"), "{said:?}");
    let said = deliver(&database, &[part_0(), ("page.csv", "<!DOCTYPE html><html>".to_owned())], &[]).await;
    assert_eq!(
        said.err,
        "error: page.csv: this is an HTML page, perhaps a login page, not CSV: download the file itself\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), part_0().1).unwrap();
    let mut command = program();
    command.args(["import", "a.csv", "missing.csv"]).current_dir(folder.path()).env("DATABASE_URL", &database.url);
    let said = run(command, "").await;
    assert!(!said.ok && said.err.starts_with("error: missing.csv: No such file"), "{said:?}");
    assert_eq!(may(&database).await, before);

    // Other tenants may be in any of them.
    let other = Line { tenant: GLOBAL, ..of("g") };
    let said = deliver(&database, &[part_0(), part_1(&[of("b"), of("c"), other])], &[]).await;
    assert_eq!(said.out, "2 files: 5 records; 1 loads published, 0 restated, 2 unchanged\n", "{said:?}");
    let sql = database.sql().await;
    let imports = sql.query("SELECT file_name FROM usage_import ORDER BY import_id", &[]).await.unwrap();
    let names: Vec<&str> = imports.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["part-0.csv, part-1.csv", "part-0.csv, part-1.csv"]);
    assert_eq!(report(&database, GLOBAL, "2023-05").await[0][0], CONTOSO);
}

#[tokio::test]
async fn a_trial_that_has_expired_is_told() {
    let database = sample().await;
    let usage = |id, trial, trial_expiry| Line { trial, trial_expiry, ..Line::new("A", id, "1") };
    let lines = [
        usage("a", "TRUE", "2023-05-02T00:00:00Z"),
        usage("b", "FALSE", "2020-01-01T00:00:00Z"),
        usage("c", "TRUE", ""),
        usage("d", "TRUE", "2023-05-01T00:00:00Z"),
        usage("e", "TRUE", "2022-01-01T00:00:00Z"),
        usage("f", "TRUE", "2023-05-01T00:00:00.000001Z"),
    ];
    for options in [&["--dry-run"][..], &[]] {
        let said = import(&database, file(&lines), options).await;
        assert!(said.ok, "{said:?}");
        assert_eq!(
            said.err,
            "warning: 2 trial rows start when their trial has already expired; the first is line 5: it starts at 2023-05-01T00:00:00Z, but the trial expired at 2023-05-01T00:00:00Z\n"
        );
    }
    assert_eq!(may(&database).await.len(), 6);
}
