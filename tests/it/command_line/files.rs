//! `usage`: its files, their names and their forms.

use std::time::Duration;

use super::{client, run, served};
use crate::support::{
    builder::{CATALOG, Row, TENANT, csv},
    program,
    proxy::{Fate, Proxy},
};

#[tokio::test]
async fn a_report_is_written_whole_under_its_name() {
    let (_database, server) = served(&[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "2")]).await;
    let folder = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str]| {
        let mut command = client(&server, &["usage", "--tenant", "acme-hq"]);
        run(command.args(arguments).current_dir(folder.path()))
    };
    let (ok, out, log) = usage(&["--month", "2022-02"]);
    assert!(ok && out.is_empty(), "{log}");
    assert!(log.starts_with("acme-hq_detailed_usage_2022-02.csv: 2 rows, revision "), "{log}");
    let file = folder.path().join("acme-hq_detailed_usage_2022-02.csv");
    let expected = csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "2")]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);

    let (ok, out, log) = usage(&["--month", "2022-02", "-o", "-"]);
    assert!(ok && log.is_empty(), "{log}");
    assert_eq!(out, expected);
    let (_, out, _) = usage(&["--month", "2022-02", "-o", "-", "--crlf"]);
    assert_eq!(out, expected.replace('\n', "\r\n"));

    let (ok, _, log) = usage(&["--month", "2022-03", "-o", "empty.csv"]);
    assert!(ok && log.contains("acme-hq has no matching usage in 2022-03"), "{log}");
    assert_eq!(std::fs::read_to_string(folder.path().join("empty.csv")).unwrap(), csv(&[]));

    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
    let (ok, _, log) = usage(&["--month", "2022-02", "-o", "nowhere/x.csv"]);
    assert!(!ok && log.contains("nowhere/x.csv: No such file"), "{log}");
}

#[tokio::test]
async fn names_of_files_are_no_longer_than_they_can_be() {
    let (database, server) = served(&[Row::on("2022-02-01", "1")]).await;
    let expected = csv(&[Row::on("2022-02-01", "1")]);
    let folder = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str]| {
        let mut command = client(&server, &["usage", "--tenant", TENANT, "--month", "2022-02"]);
        run(command.args(arguments).current_dir(folder.path()))
    };
    let files = || {
        let names =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    for (name, kept) in [
        ("東".repeat(85), format!("{}~{:08x}", "東".repeat(68), crc32fast::hash("東".repeat(85).as_bytes()))),
        ("x".repeat(256), format!("{}~{:08x}", "x".repeat(205), crc32fast::hash("x".repeat(256).as_bytes()))),
        ("y".repeat(214), "y".repeat(214)),
    ] {
        database.apply(&CATALOG.replace("\"acme-hq\"", &format!("\"{name}\""))).await;
        let (ok, _, log) = usage(&[]);
        let file = format!("{kept}_detailed_usage_2022-02.csv");
        assert!(ok && file.len() <= 241, "{log}");
        assert!(log.contains(&format!("{file}: 1 rows, revision ")), "{log}");
        let is_told =
            log.starts_with(&format!("the tenant's name is too long for a file name, so the file is {file}\n"));
        assert_eq!(is_told, name != kept, "{log}");
        assert_eq!(files(), std::slice::from_ref(&file));
        assert_eq!(std::fs::read_to_string(folder.path().join(&file)).unwrap(), expected);
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    // A name that was asked for may be as long as the system lets it be.
    let longest = "z".repeat(255);
    let (ok, _, log) = usage(&["-o", &longest]);
    assert!(ok, "{log}");
    assert_eq!(files(), [longest]);
    let (ok, _, log) = usage(&["-o", &"z".repeat(256)]);
    assert!(!ok && log.contains("File name too long"), "{log}");
}

#[tokio::test]
async fn spreadsheets_get_their_mark_of_utf_8_on_request() {
    let rows = [Row::on("2022-02-01", "1").with("assetName", "Zürich")];
    let (database, server) = served(&rows).await;
    let usage = ["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "-", "--bom"];
    let (_, out, _) = run(&mut client(&server, &usage));
    assert_eq!(out, format!("\u{feff}{}", csv(&rows)));
    assert_eq!(database.import(&out).await.published_at, None, "it imports as it is");
}

#[tokio::test]
async fn formulas_are_neutralised_on_request() {
    let name = |name: &str, id: &str| Row::on("2022-02-01", "1").with("assetName", name).asset(id);
    let rows = [
        name("=1+1", "+id"),
        name("-5.5", "a"),
        name("plain", "b"),
        name("\n=1", "c"),
        name("\u{ff1d}1+1", "\u{ff20}d"),
    ];
    let (_database, server) = served(&rows).await;
    let usage = ["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "-"];
    let (_, out, _) = run(&mut client(&server, &usage));
    assert_eq!(out, csv(&rows));
    let (_, out, _) = run(client(&server, &usage).arg("--neutralize-formulas"));
    assert_eq!(
        out,
        csv(&[
            name("'=1+1", "'+id"),
            name("-5.5", "a"),
            name("plain", "b"),
            name("'\n=1", "c"),
            name("'\u{ff1d}1+1", "'\u{ff20}d"),
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_was_cut_is_not_there() {
    let rows: Vec<Row> = (0..5000).map(|n| Row::on("2022-02-01", "1").bulky(n)).collect();
    let (_database, server) = served(&rows).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    std::fs::write(&file, "of yesterday").unwrap();
    for limit in [2_000, 300_000, 600_000] {
        let proxy = Proxy::start(server.address, move |_| Fate { cut_after: limit, pause: Duration::ZERO }).await;
        let mut command = program();
        command.args([
            "usage",
            "--tenant",
            TENANT,
            "--month",
            "2022-02",
            "--retry-for",
            "0",
            "--server",
            &proxy.url,
            "--force",
            "-o",
        ]);
        command.arg(&file);
        let (ok, _, log) = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
        assert!(!ok && log.starts_with("error: "), "{log}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "of yesterday");
        // What there is has a name of its own, and where nothing came, there is nothing.
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, if limit == 2_000 { 1 } else { 3 });
    }
}
