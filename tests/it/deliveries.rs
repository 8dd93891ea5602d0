//! Deliveries as people send them, on the real program: what is taken, what is refused, and why.

mod complete;
mod envelopes;
mod files;
mod spellings;
mod withdrawals;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use secure_connect_reports::{client::UsageQuery, model::UtcTime};

use crate::support::{Database, program};

const CONTOSO: &str = "6b0e7a52-91f1-4b2c-a5e2-5ba3e2a7d701";
const HQ: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const GLOBAL: &str = "66d25a63-01bc-5d7b-afec-2f2ca8c14984";
const HEADER: &str = "organizationId,tenantId,assetName,assetId,assetType,meterName,meterId,start,end,quantity,billingRegion,platform,trial,trialExpiry";

/// A row of usage as it stands in a file, whatever is in its fields.
#[derive(Clone, Copy)]
struct Line<'a> {
    tenant: &'a str,
    name: &'a str,
    id: &'a str,
    start: &'a str,
    end: &'a str,
    quantity: &'a str,
    trial: &'a str,
    trial_expiry: &'a str,
}

impl<'a> Line<'a> {
    /// A day of user hours of [`HQ`].
    fn new(name: &'a str, id: &'a str, quantity: &'a str) -> Self {
        Self {
            tenant: HQ,
            name,
            id,
            start: "2023-05-01T00:00:00Z",
            end: "2023-05-02T00:00:00Z",
            quantity,
            trial: "FALSE",
            trial_expiry: "",
        }
    }

    fn text(&self) -> String {
        let Self { tenant, name, id, start, end, quantity, trial, trial_expiry } = self;
        format!(
            "{CONTOSO},{tenant},{name},{id},USER,user_hours_essentials,4b400c00-9e3b-59ed-b541-4ee514da78c7,{start},{end},{quantity},EU,,{trial},{trial_expiry}"
        )
    }
}

/// A file with a header and these rows.
fn file(lines: &[Line<'_>]) -> String {
    let mut text = HEADER.to_owned() + "\n";
    for line in lines {
        text += &line.text();
        text.push('\n');
    }
    text
}

/// What a command said.
#[derive(Debug)]
struct Said {
    ok: bool,
    out: String,
    err: String,
}

/// A database with the sample catalog.
async fn sample() -> Database {
    let database = Database::migrated();
    database.apply(include_str!("../../examples/catalog.toml")).await;
    database
}

async fn run(mut command: Command, input: impl Into<Vec<u8>>) -> Said {
    let input = input.into();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the program");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may have seen enough before the end.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        child.wait_with_output().expect("an end")
    });
    let output = output.await.expect("a thread");
    let text = |bytes| String::from_utf8(bytes).expect("a text");
    Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// Imports standard input.
async fn import(database: &Database, input: impl Into<Vec<u8>>, options: &[&str]) -> Said {
    let mut command = program();
    command.args(["import", "-"]).args(options).env("DATABASE_URL", &database.url);
    run(command, input).await
}

/// It was taken, and nothing is odd about it.
#[track_caller]
fn assert_taken(said: &Said, records: usize) {
    assert!(said.ok && said.err.is_empty(), "{said:?}");
    assert!(said.out.starts_with(&format!("-: {records} records; ")), "{said:?}");
}

/// It was refused, with these problems.
#[track_caller]
fn assert_refused(said: &Said, problems: &[&str]) {
    assert!(!said.ok && said.out.is_empty(), "{said:?}");
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(lines[0], "error: -: the file was not imported, and nothing was changed:", "{said:?}");
    assert_eq!(lines.len() - 1, problems.len(), "{said:?}");
    for (line, problem) in lines[1..].iter().zip(problems) {
        assert!(line.trim_start().starts_with(problem), "{line:?} does not begin with {problem:?}");
    }
}

async fn withdraw(database: &Database, tenant: &str, day: &str, options: &[&str]) -> Said {
    let mut command = program();
    command.args(["withdraw", "--tenant", tenant, "--day", day]).args(options).env("DATABASE_URL", &database.url);
    run(command, "").await
}

/// Times as a word, since they are never the same.
fn without_times(text: &str) -> String {
    let word = |word: &str| {
        let is_time = word.trim_end_matches(':').parse::<UtcTime>().is_ok();
        if is_time { format!("TIME{}", if word.ends_with(':') { ":" } else { "" }) } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The report of [`HQ`] in a month: the columns of each row.
async fn report(database: &Database, tenant: &str, month: &str) -> Vec<Vec<String>> {
    let server = database.serve();
    let text = server.csv(&UsageQuery::new(tenant.parse().unwrap(), month.parse().unwrap())).await.0;
    let mut rows = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    rows.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// Name, id and quantity of each row of [`HQ`] in May 2023.
async fn may(database: &Database) -> Vec<[String; 3]> {
    let rows = report(database, HQ, "2023-05").await;
    rows.into_iter().map(|row| [row[2].clone(), row[3].clone(), row[9].clone()]).collect()
}

fn row(name: &str, id: &str, quantity: &str) -> [String; 3] {
    [name, id, quantity].map(str::to_owned)
}
