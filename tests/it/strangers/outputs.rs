//! Outputs that cannot be written.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use super::server::{Ended, run};
use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    program,
};

struct Place {
    database: Database,
    server: Server,
    folder: tempfile::TempDir,
}

async fn place() -> Place {
    let database = Database::with_rows(3).await;
    let (server, folder) = (database.serve(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("catalog.toml"), CATALOG).unwrap();
    for day in 1..=3 {
        let rows = csv(&[Row::on(&format!("2022-03-0{day}"), "1")]);
        std::fs::write(folder.path().join(format!("{day}.csv")), rows).unwrap();
    }
    Place { database, server, folder }
}

impl Place {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).current_dir(self.folder.path());
        command.env("SCR_SERVER", self.server.url()).env("DATABASE_URL", &self.database.url);
        command
    }
}

/// Every command that prints.
const COMMANDS: [&[&str]; 18] = [
    &["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "-"],
    &["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "/dev/stdout", "--crlf"],
    &["tenants"],
    &["tenants", "--format", "csv"],
    &["tenants", "--format", "json"],
    &["costs", "--organization", ORG, "--month", "2022-02"],
    &["costs", "--organization", ORG, "--month", "2022-02", "--format", "csv"],
    &["costs", "--organization", ORG, "--month", "2022-02", "--format", "json"],
    &["costs", "--month", "2022-02"],
    &["costs", "--month", "2022-02", "--format", "csv"],
    &["costs", "--month", "2022-02", "--format", "json"],
    &["healthcheck"],
    &["token", "--organization", "*", "--key-dir", "key"],
    &["migrate"],
    &["catalog", "apply", "catalog.toml"],
    &["import", "1.csv"],
    &["withdraw", "--tenant", TENANT, "--day", "2022-02-01", "--dry-run"],
    &["purge", "--superseded-days", "1"],
];

/// `run` keeps what is printed; this does not.
async fn run_to(mut command: Command, out: impl Into<Stdio>) -> Ended {
    command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // The command has a copy of the output, which ends with it.
    drop(command);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    Ended { code: output.status.code(), out: output.stdout, log: String::from_utf8(output.stderr).unwrap() }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_an_error() {
    let place = place().await;
    for arguments in COMMANDS {
        let ended = run_to(place.command(arguments), full()).await;
        ended.assert_error("standard output: No space left on device", &format!("{arguments:?}"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = run_to(place.command(arguments), writer).await;
        ended.assert_error("standard output: Broken pipe", &format!("{arguments:?}"));
    }
    let usage = ["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "/dev/full"];
    run(place.command(&usage)).await.assert_error("/dev/full: No space left on device", "a device");
    assert!(!Path::new("/dev/full.part").exists());
}

/// What is said on the side is lost, and the rest is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_that_cannot_be_written_stop_nothing() {
    let place = place().await;
    for arguments in COMMANDS {
        let mut command = place.command(arguments);
        command.stdout(Stdio::piped()).stderr(full());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_given_whether_it_is_told_or_not() {
    let place = place().await;
    let role = format!("reader_of_{}", std::process::id());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let grant = format!("reader={role}");
    let ended = run_to(place.command(&["migrate", "--grant-to", &grant]), writer).await;
    ended.assert_error("standard output: Broken pipe", "migrate");
    let may = format!("SELECT has_table_privilege('{role}', 'usage_load', 'SELECT')");
    let sql = place.database.sql().await;
    assert!(sql.query_one(&may, &[]).await.unwrap().get::<_, bool>(0));
    sql.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_report_nobody_reads_imports_all_files() {
    let place = place().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = run_to(place.command(&["import", "1.csv", "2.csv", "3.csv"]), writer).await;
    ended.assert_error("all of it was done, but not reported: standard output: Broken pipe", "import");
    let loads = "SELECT count(*) FROM usage_load WHERE usage_day >= '2022-03-01'";
    assert_eq!(place.database.sql().await.query_one(loads, &[]).await.unwrap().get::<_, i64>(0), 3);
}
