//! `costs --format focus`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::{client, run};
use crate::{
    clients::{project, tool},
    statements::books::Books,
    support::{
        Database, Server,
        builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
        calls::flight_path,
        columns::Columns,
        proxy::{Fate, Proxy},
    },
};

fn usage() -> String {
    csv(&[
        Row::on("2022-02-01", "1060.123456").bandwidth().asset("gateway-1").with("assetType", "GATEWAY"),
        Row::on("2022-02-01", "12.345").asset("=ann"),
        Row::on("2022-02-02", "8").with("trial", "TRUE").with("trialExpiry", "2022-02-15T00:00:00Z").of(ORG, TENANT_2),
    ])
}

fn costs(server: &Server, arguments: &[&str]) -> (bool, String, String) {
    run(client(server, &["costs", "--month", "2022-02"]).args(arguments))
}

/// Writes a file, and returns what is said.
fn write(server: &Server, file: &Path, arguments: &[&str]) -> String {
    let mut command = client(server, &["costs", "--month", "2022-02", "--organization", ORG]);
    let output =
        command.args(arguments).stdout(fs::File::create(file).unwrap()).stderr(Stdio::piped()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    log
}

/// What a validator says of a file.
fn validate(version: &str, file: &Path) -> Value {
    let mut command = Command::new(tool("venv/bin/python"));
    let (ok, found, log) = run(command.arg("-B").arg(project("tests/clients/focus.py")).arg(version).arg(file));
    assert!(ok, "{log}");
    serde_json::from_str(&found).unwrap()
}

fn batches(file: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap()).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_and_parquet_say_what_the_columns_say() {
    let books = Books::open().await;
    books.database.import(&usage()).await;
    let folder = tempfile::tempdir().unwrap();
    let (csv, parquet) = (folder.path().join("focus.csv"), folder.path().join("focus.parquet"));
    assert_eq!(write(&books.server, &csv, &["--format", "focus", "--focus-version", "1.4"]), "");
    assert_eq!(write(&books.server, &parquet, &["--format", "focus-parquet", "--focus-version", "1.4"]), "");
    let mut path = flight_path("focus_costs", ORG, "2022-02");
    path.path.push("1.4".to_owned());
    let columns = books.server.columns(path).await.remove(0);
    let expected = columns.rows();
    assert_eq!(expected.len(), 7);
    let mut reader = csv::Reader::from_path(&csv).unwrap();
    let names: Vec<&str> = columns.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), names);
    let rows: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    // Decimals have a point, so that they are taken for decimals.
    let is_decimal = |column: usize| matches!(columns.schema.field(column).data_type(), DataType::Decimal128(..));
    let with_point = |(column, cell): (usize, &String)| {
        if is_decimal(column) && !cell.is_empty() && !cell.contains('.') { format!("{cell}.0") } else { cell.clone() }
    };
    let with_points: Vec<Vec<String>> =
        expected.iter().map(|row| row.iter().enumerate().map(with_point).collect()).collect();
    assert_eq!(rows, with_points);
    let batches = batches(&parquet);
    assert_eq!(Columns { schema: batches[0].schema(), batches, summary: Value::Null }.rows(), expected);
    let metadata = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&parquet).unwrap()).unwrap();
    let metadata = metadata.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let of = |name: &str| metadata.iter().find(|pair| pair.key == name).and_then(|pair| pair.value.clone());
    assert_eq!((of("focusVersion").as_deref(), of("organizationId").as_deref()), (Some("1.4"), Some(ORG)));

    // By asset, and of one tenant.
    let (ok, text, log) = costs(
        &books.server,
        &["--organization", ORG, "--tenant", TENANT, "--format", "focus", "--by", "asset", "--neutralize-formulas"],
    );
    assert!(ok && log.is_empty(), "{log}");
    assert!(text.contains(&format!("{TENANT}/USER/=ann")) && text.lines().count() == 5, "{text}");
}

/// Each rule of the validator's model is kept, but one of two that say of all rows what the specification says of some: that no charge
/// is of an invoice, and that each is. One of them is enough for the rule that both are parts of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_find_nothing() {
    let books = Books::open().await;
    books.database.apply("[[meters]]\nid = \"cccccccc-0000-4000-8000-000000000009\"\nname = \"free\"\nunit = \"hour\"\ncharged = false\n").await;
    books.database.import(&usage()).await;
    let free =
        Row::on("2022-02-04", "3").with("meterName", "free").with("meterId", "cccccccc-0000-4000-8000-000000000009");
    books.database.import(&csv(&[free])).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for (state, alternative) in [("open", "InvoiceId-C-005-C"), ("closed", "InvoiceId-C-004-C")] {
        if state == "closed" {
            books.close("2022-02").await;
            books.database.import(&csv(&[Row::on("2022-02-03", "50"), Row::on("2022-03-01", "10")])).await;
        }
        for (name, arguments) in [
            ("lines.csv", &["--format", "focus"][..]),
            ("lines.parquet", &["--format", "focus-parquet"]),
            ("assets.csv", &["--format", "focus", "--by", "asset"]),
        ] {
            write(&books.server, &file(name), arguments);
            let found = validate("1.2", &file(name));
            assert_eq!(found["failed"], serde_json::json!([alternative]), "{state} {name}");
            assert!(found["checked"].as_u64().unwrap() >= 200, "{found}");
        }
    }
    let mut corrections =
        client(&books.server, &["costs", "--month", "2022-03", "--organization", ORG, "--format", "focus"]);
    let (ok, text, _) = run(&mut corrections);
    assert!(ok && text.contains(",Correction,"), "{text}");
    fs::write(file("corrections.csv"), text).unwrap();
    assert_eq!(validate("1.2", &file("corrections.csv"))["failed"], serde_json::json!(["InvoiceId-C-005-C"]));
    for arguments in [&["--to", "2022-03"][..], &["--to", "2022-03", "--by", "asset"]] {
        let arguments = [&["--format", "focus", "--focus-version", "1.4"], arguments].concat();
        write(&books.server, &file("1.4.csv"), &arguments);
        let found = validate("1.4", &file("1.4.csv"));
        let says = found["says"][0].as_str().unwrap();
        assert!(found["exit"] == 0 && says.contains("lint OK (STRUCTURAL_VALID, SEMANTIC_VALID)"), "{found}");
    }
    // Validators that find nothing anywhere would prove nothing.
    let broken = fs::read_to_string(file("1.4.csv")).unwrap().replace(",Networking,", ",Network,");
    fs::write(file("broken-1.4.csv"), broken).unwrap();
    assert_ne!(validate("1.4", &file("broken-1.4.csv"))["exit"], 0);
    let broken = fs::read_to_string(file("lines.csv")).unwrap().replace(",Networking,", ",Network,");
    fs::write(file("broken.csv"), broken).unwrap();
    let found = validate("1.2", &file("broken.csv"));
    assert!(found["failed"].as_array().unwrap().iter().any(|rule| rule == "ServiceCategory-C-003-M"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_organizations_are_in_one_file_and_what_has_no_price_is_said() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database
        .import(&csv(&[
            Row::on("2022-02-01", "100"),
            Row::on("2022-02-03", "7").of(ORG_EUR, TENANT_EUR),
            Row::on("2022-02-01", "7").of(ORG_EUR, TENANT_EUR),
        ]))
        .await;
    let server = database.serve();
    let (ok, text, log) = costs(&server, &["--format", "focus"]);
    let warnings = "warning: no price covers 1 line, which has no row; `costs` lists it\n\
                    warning: days are missing in 1 report of a tenant; `costs` lists them\n";
    assert!(ok && log == warnings, "{log}");
    assert_eq!(text.lines().count(), 2, "{text}");
    database.apply("[[prices]]\nmeter = \"user_hours_essentials\"\ncurrency = \"EUR\"\neffective_from = \"2022-01\"\ntiers = [{ unit_price = \"0.02\" }]\n").await;
    let (ok, text, _) = costs(&server, &["--format", "focus"]);
    let currencies: Vec<&str> = text.lines().map(|line| line.split(',').nth(3).unwrap()).collect();
    assert!(ok && currencies == ["BillingCurrency", "USD", "EUR"], "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_focus_does_not_have_is_refused() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    for (arguments, said) in [
        (&["--format", "focus", "--current"][..], "--current is not for FOCUS"),
        (&["--format", "focus", "--tiers"], "--tiers is not for FOCUS"),
        (&["--format", "focus", "--organization", ORG, "--by", "day"], "with `--by asset` alone by asset"),
        (&["--format", "focus", "--organization", ORG, "--by", "asset,day"], "with `--by asset` alone by asset"),
        (
            &["--format", "focus", "--organization", ORG, "--by", "asset", "--asset-id", "a"],
            "leave out --asset-type, --asset-id, --meter and --region",
        ),
        (&["--format", "focus-parquet"], "focus-parquet needs --organization"),
        (
            &["--format", "focus-parquet", "--organization", ORG, "--neutralize-formulas"],
            "--neutralize-formulas is of CSV",
        ),
        (&["--format", "focus", "--focus-version", "1.3"], "not one of 1.2, 1.4"),
        (&["--format", "focus", "--organization", "none"], "there is no organization named"),
    ] {
        let (ok, out, log) = costs(&server, arguments);
        assert!(!ok && out.is_empty() && log.contains(said), "{arguments:?}: {log}");
    }
    let serve = |arguments: &[&str]| {
        let mut command = crate::support::program();
        run(command
            .args(["serve", "--insecure-no-auth", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("DATABASE_URL", "postgresql://[::1]:1/none"))
    };
    for (arguments, said) in [
        (["--focus-provider-name", " "], "must have 1 to 256 bytes"),
        (["--focus-service-name", "a\nb"], "no characters that control"),
        (["--focus-service-subcategory", "Networking"], "not a service subcategory of FOCUS"),
    ] {
        let (ok, _, log) = serve(&arguments);
        assert!(!ok && log.contains(said), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_is_an_error_and_no_file() {
    let books = Books::open().await;
    let rows: Vec<Row> = (0..20_000).map(|n| Row::on("2022-02-01", "1.5").asset(&format!("{n:0500}"))).collect();
    books.database.import(&csv(&rows)).await;
    let proxy = Proxy::start(books.server.address, |_| Fate { cut_after: 2 << 20, pause: Duration::ZERO }).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("focus.parquet");
    let mut command = crate::support::program();
    command.args(["costs", "--month", "2022-02", "--organization", ORG, "--by", "asset", "--format", "focus-parquet"]);
    command.args(["--server", &proxy.url]).stdout(fs::File::create(&file).unwrap()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && log.contains("the costs are incomplete"), "{log}");
    assert!(ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&file).unwrap()).is_err());
}
