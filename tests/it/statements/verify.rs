//! `statement verify`: without a server, from the customer's own files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::books::Books;
use crate::support::{
    builder::{ORG, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    program, rng, rounds, run,
};

/// Of RFC 8037, so nobody's.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// A customer's files: a statement with an adjustment, its detailed usage, and the keys.
struct Files {
    books: Books,
    folder: tempfile::TempDir,
    details: Vec<PathBuf>,
}

impl Files {
    async fn new() -> Self {
        let books = Books::open().await;
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        fs::write(&key, KEY).unwrap();
        let close = |month: &str| {
            let mut command = program();
            command.args(["close", "--organization", ORG, "--month", month, "--allow-missing-days"]);
            command.arg("--statement-key").arg(&key).env("DATABASE_URL", &books.database.url);
            let (ok, _, error) = run(&mut command);
            assert!(ok, "{error}");
        };
        books.database.import(&csv(&[Row::on("2022-02-01", "17"), Row::on("2022-02-03", "0.5")])).await;
        close("2022-02");
        let rows = [
            Row::on("2022-03-01", "1070.25").bandwidth().with("platform", "mcp"),
            Row::on("2022-03-02", "1e1").asset("a,\"b\"\nc").with("assetName", "=1+1"),
            Row::on("2022-03-02", "3").with("trial", "TRUE"),
            Row::on("2022-03-05", "5").of(ORG, TENANT_2),
        ];
        books.database.import(&csv(&rows)).await;
        books.database.import_from("mobile", &csv(&[Row::on("2022-03-01", "2").asset("phone")])).await;
        books.database.import(&csv(&[Row::on("2022-02-02", "100")])).await;
        close("2022-03");
        // What comes later is not in the files.
        books.database.import(&csv(&[Row::on("2022-03-09", "1")])).await;

        let server = books.server.url();
        let client = |arguments: &[&str]| {
            let mut command = program();
            command.args(arguments).args(["--server", &server]);
            let (ok, output, error) = run(&mut command);
            assert!(ok, "{error}");
            output
        };
        let path = |name: &str| folder.path().join(name);
        let statement = client(&["statement", "get", "--organization", ORG, "--month", "2022-03"]);
        fs::write(path("statement.json"), statement).unwrap();
        fs::write(path("keys.json"), client(&["statement", "keys"])).unwrap();
        let mut details = Vec::new();
        for (tenant, month) in [(TENANT, "2022-03"), (TENANT_2, "2022-03"), (TENANT, "2022-02")] {
            let file = path(&format!("{tenant}-{month}.csv"));
            let name = file.to_str().unwrap().to_owned();
            client(&["usage", "--tenant", tenant, "--month", month, "--statement", "2022-03-000002", "-o", &name]);
            details.push(file);
        }
        Self { books, folder, details }
    }

    fn statement(&self) -> PathBuf {
        self.folder.path().join("statement.json")
    }

    fn verify(&self, statement: &Path, details: &[PathBuf]) -> (bool, String, String) {
        let mut command: Command = program();
        command.args(["statement", "verify"]).arg(statement).args(details);
        run(command.arg("--key").arg(self.folder.path().join("keys.json")))
    }

    /// What the example in Python says of it.
    fn verify_by_python(&self, statement: &Path, details: &[PathBuf]) -> (bool, String, String) {
        let mut command = Command::new("target/tools/venv/bin/python");
        command.arg("examples/python/verify_statement.py").arg(statement).arg(self.folder.path().join("keys.json"));
        run(command.args(details))
    }

    /// What is said of a statement in which a text is another one.
    fn changed(&self, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.statement()).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        let changed = self.folder.path().join("changed.json");
        fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        let (ok, _, error) = self.verify(&changed, &self.details);
        assert!(!ok, "{from} may be {to}");
        error
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_checked_from_the_customers_own_files() {
    let files = Files::new().await;
    let (ok, output, error) = files.verify(&files.statement(), &files.details);
    assert!(ok, "{output}{error}");
    assert!(output.contains("2022-03-000002: digest "), "{output}");
    assert!(output.contains("signed with key kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"), "{output}");
    // 84.965, 0.12 and 0.05; an hour costs 0.01, and 100 of them came late.
    assert!(output.contains("3 lines and 1 adjustments come to 86.14 USD"), "{output}");
    assert!(output.contains("4 rows add up to 2 lines") && output.contains("1 rows add up to 1 lines"), "{output}");
    assert!(output.contains("3 rows add up to 1 lines"), "{output}");
    // Without details, it says what it has not seen.
    let (ok, output, error) = files.verify(&files.statement(), &files.details[..1]);
    assert!(ok, "{error}");
    assert_eq!(output.matches("not checked, for want of their detailed usage").count(), 2, "{output}");
}

/// One command downloads all that a statement was made of: its month, and the months that it adjusts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_a_statement_come_at_once() {
    let files = Files::new().await;
    let folder = files.folder.path().join("details");
    let server = files.books.server.url();
    let usage = |folder: &Path, number: &str, more: &[&str]| {
        let mut command = program();
        command.args(["usage", "--organization", "Acme", "--statement", number, "--server", &server, "-o"]);
        run(command.arg(folder).args(more))
    };
    let (ok, _, error) = usage(&folder, "2022-03-000002", &[]);
    assert!(ok && error.contains("manifest.json: 3 files, 8 rows, all as of 2"), "{error}");
    let list = |folder: &Path| {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "csv")).collect();
        paths.sort();
        paths
    };
    let details = list(&folder);
    let names: Vec<_> = details.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let expected = [("acme-hq", "2022-02"), ("acme-hq", "2022-03"), ("acme-lab", "2022-03")]
        .map(|(tenant, month)| format!("{tenant}_detailed_usage_{month}_statement-2022-03-000002.csv"));
    assert_eq!(names, expected);
    let (ok, output, error) = files.verify(&files.statement(), &details);
    assert!(ok && !output.contains("not checked"), "{output}{error}");
    // They are those of one command each.
    for (path, one) in details.iter().zip([&files.details[2], &files.details[0], &files.details[1]]) {
        assert_eq!(fs::read(path).unwrap(), fs::read(one).unwrap());
    }
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let statement: serde_json::Value = serde_json::from_slice(&fs::read(files.statement()).unwrap()).unwrap();
    assert_eq!(manifest["asOf"], statement["statement"]["horizon"]);
    assert_eq!(manifest["reports"][1]["revision"], statement["reports"][0]["revision"]);

    // Those of one tenant, or month.
    let lab = files.folder.path().join("lab");
    assert!(usage(&lab, "2022-03-000002", &["--tenant", "acme-lab"]).0);
    assert_eq!(list(&lab).len(), 1);
    let march = files.folder.path().join("march");
    assert!(usage(&march, "2022-03-000002", &["--month", "2022-03"]).0);
    assert_eq!(list(&march).len(), 2);
    // What it was not made of is not left out silently.
    let none = files.folder.path().join("none");
    for (more, problem) in [
        (&["--month", "2021-05"][..], "statement 2022-03-000002 was not made of usage of these months"),
        (&["--month", "2022-01", "--to", "2022-02", "--tenant", "acme-lab"], "was not made of usage of tenant"),
        (&["--tenant", TENANT_EUR], "there is no"),
    ] {
        let (ok, _, error) = usage(&none, "2022-03-000002", more);
        assert!(!ok && error.contains(problem) && !none.exists(), "{more:?}: {error}");
    }
    let (ok, _, error) = usage(&folder, "2022-03-000007", &["--force"]);
    assert!(!ok && error.contains("has no statement 2022-03-000007; that of 2022-03 is 2022-03-000002"), "{error}");
    let (ok, _, error) = usage(&folder, "2022-04-000003", &["--force"]);
    assert!(!ok && error.contains("there is no such statement; `secure-connect-reports statement list`"), "{error}");
    assert_eq!(list(&folder), details, "nothing was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digit_that_was_changed_is_found_and_named() {
    let files = Files::new().await;
    for (from, to, problem) in [
        ("\"cost\":\"84.97\"", "\"cost\":\"84.96\"", "the lines are not those that were digested"),
        ("\"quantity\":\"1070.25\"", "\"quantity\":\"1070.26\"", "the lines are not those that were digested"),
        ("\"billed\":\"0.18\"", "\"billed\":\"0.17\"", "the adjustments are not those that were digested"),
        ("\"total\":\"86.14\"", "\"total\":\"86.15\"", "the head is not the one that was digested"),
        ("\"dataAsOf\":\"2", "\"dataAsOf\":\"1", "the reports are not those that were digested"),
        (
            "\"recordCount\":1,\"source\":\"default\"",
            "\"recordCount\":2,\"source\":\"default\"",
            "is not of 2022-02-01",
        ),
        ("\"signature\": \"", "\"signature\": \"0", "the signature is not of 128 hexadecimal digits"),
    ] {
        let error = files.changed(from, to);
        assert!(error.contains(problem), "{from}: {error}");
    }
    // Whoever makes new digests cannot sign them.
    let text = fs::read_to_string(files.statement()).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let digest = document["digest"].as_str().unwrap();
    let mut head = document["statement"].clone();
    head["closedBy"] = "somebody".into();
    let canonical = serde_json::to_string(&head).unwrap();
    use sha2::Digest as _;
    let forged: String = sha2::Sha256::digest(&canonical).iter().map(|byte| format!("{byte:02x}")).collect();
    let original = serde_json::to_string(&document["statement"]).unwrap();
    let changed = files.folder.path().join("forged.json");
    fs::write(&changed, text.replace(&original, &canonical).replace(digest, &forged)).unwrap();
    let (ok, _, error) = files.verify(&changed, &files.details);
    assert!(!ok && error.contains("the signature is not of this statement"), "{error}");

    // Rows that are not those that were billed.
    for (number, (from, to, problem)) in [
        ("1070.25", "1070.24", "are not those that were billed"),
        ("10,EU", "10,NA", "are not those that were billed"),
        ("2022-03-02T00", "2022-03-03T00", "is not of 2022-03-02"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = fs::read_to_string(&files.details[0]).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        let changed = files.folder.path().join(format!("changed-{number}.csv"));
        fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        let (ok, _, error) = files.verify(&files.statement(), &[changed]);
        assert!(!ok && error.contains(problem), "{from}: {error}");
    }
    let text = fs::read_to_string(&files.details[0]).unwrap();
    let cut = files.folder.path().join("cut.csv");
    fs::write(&cut, text.rsplit_once("2022-03-02T00").unwrap().0.rsplit_once('\n').unwrap().0.to_owned() + "\n")
        .unwrap();
    let (ok, _, error) = files.verify(&files.statement(), &[cut]);
    assert!(!ok && error.contains("missing"), "{error}");
}

/// Of the statement and of the customer's files, by our command and by the example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_digit_is_found() {
    let files = Files::new().await;
    let (ok, output, error) = files.verify_by_python(&files.statement(), &files.details);
    assert!(ok, "{error}");
    let expected = "2022-03-000002: 86.14 USD, 3 files, signed with kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k\n";
    assert_eq!(output, expected);
    let mut rng = rng();
    let originals: Vec<PathBuf> = [files.statement()].into_iter().chain(files.details.clone()).collect();
    for round in 0..rounds(30) {
        let which = rng.usize(..originals.len());
        let mut text = fs::read(&originals[which]).unwrap();
        let digits: Vec<usize> = (0..text.len()).filter(|&at| text[at].is_ascii_digit()).collect();
        let at = digits[rng.usize(..digits.len())];
        text[at] = b'0' + (text[at] - b'0' + rng.u8(1..10)) % 10;
        let mut changed = originals.clone();
        changed[which] = files.folder.path().join(format!("{round}-{which}"));
        fs::write(&changed[which], &text).unwrap();
        let found = files.verify(&changed[0], &changed[1..]);
        let by_python = files.verify_by_python(&changed[0], &changed[1..]);
        let text = String::from_utf8_lossy(&text);
        assert!(!found.0 && !by_python.0, "at {at} of {which}: {found:?} {by_python:?} {text}");
    }
}

#[test]
fn the_example_is_short() {
    let example = include_str!("../../../examples/python/verify_statement.py");
    assert!(example.lines().count() < 60, "a customer reads it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_does_not_sign_for_the_provider() {
    let files = Files::new().await;
    let keys = files.folder.path().join("keys.json");
    fs::write(&keys, r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}]}"#)
        .unwrap();
    let (ok, _, error) = files.verify(&files.statement(), &files.details);
    assert!(!ok && error.contains("it does not have the key kPrK_"), "{error}");
}
