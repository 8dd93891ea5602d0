//! `usage` in other forms than CSV: each says what the CSV says.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use secure_connect_reports::{client::CostsQuery, model::MonthRange};
use serde_json::Value;

use super::{client, run};
use crate::{
    clients::{project, served, tool},
    support::{
        Database, Server,
        builder::{ORG, Row, TENANT, TENANT_2, csv},
        columns::{Columns, csv_rows},
        program,
        proxy::{Fate, Proxy},
    },
};

fn usage(server: &Server, folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = client(server, &["usage", "--tenant", TENANT, "--month", "2022-02"]);
    run(command.args(arguments).current_dir(folder))
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The batches of a file, as rows of text.
fn parquet_rows(path: &Path) -> Vec<Vec<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    rows(reader.build().unwrap().map(Result::unwrap).collect())
}

fn arrow_rows(path: &Path) -> Vec<Vec<String>> {
    let reader = arrow_ipc::reader::StreamReader::try_new(fs::File::open(path).unwrap(), None).unwrap();
    rows(reader.map(Result::unwrap).collect())
}

fn rows(batches: Vec<RecordBatch>) -> Vec<Vec<String>> {
    let schema = batches[0].schema();
    Columns { schema, batches, summary: Value::Null }.rows()
}

/// The lines of a file of JSON, as CSV has them.
fn json_rows(lines: &str) -> Vec<Vec<String>> {
    let of = |value: &Value| match value {
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string().to_uppercase(),
        Value::String(text) => text.clone(),
        other => panic!("{other}"),
    };
    let row = |line: &str| -> Vec<String> {
        let record: Value = serde_json::from_str(line).unwrap();
        record.as_object().unwrap().values().map(of).collect()
    };
    lines.lines().map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_says_what_the_csv_says() {
    let (_database, server) = served().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a.csv", "a.csv.gz", "a.csv.zst", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.arrows"] {
        let (ok, out, log) = usage(&server, folder.path(), &["-o", name]);
        assert!(ok && out.is_empty() && log.starts_with(&format!("{name}: 1,500 rows, revision ")), "{name}: {log}");
    }
    let expected = server.february().await;
    let read = |name: &str| fs::read(path(name)).unwrap();
    let gunzip = |bytes: Vec<u8>| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(String::from_utf8(read("a.csv")).unwrap(), expected);
    assert_eq!(gunzip(read("a.csv.gz")), expected);
    assert_eq!(zstd::decode_all(read("a.csv.zst").as_slice()).unwrap(), expected.as_bytes());
    let json = gunzip(read("a.jsonl.gz"));
    assert_eq!(String::from_utf8(read("a.jsonl")).unwrap(), json);
    let names = r#"{"organizationId":"aaaaaaaa-0000-4000-8000-000000000001","tenantId":"#;
    assert!(json.starts_with(names) && json.contains(r#""quantity":"1.50","#), "as it was measured: {}", &json[..500]);
    let mut as_written = csv::ReaderBuilder::new().from_reader(expected.as_bytes());
    let as_written = as_written.records().map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
    assert!(json_rows(&json) == as_written.collect::<Vec<_>>());
    assert!(parquet_rows(&path("a.parquet")) == csv_rows(&expected));
    assert!(arrow_rows(&path("a.arrows")) == csv_rows(&expected));

    // To an output that others read, the same bytes.
    for format in ["jsonl", "parquet", "arrow"] {
        let mut command = client(&server, &["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "-"]);
        let output = command.args(["--format", format]).stderr(Stdio::null()).output().unwrap();
        let file = ["a.jsonl", "a.parquet", "a.arrows"].iter().find(|name| name.contains(format)).unwrap();
        assert!(output.status.success() && output.stdout == read(file), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_tools_find_equal_sums_which_are_those_of_the_bill() {
    let database = Database::with_catalog().await;
    // Days of more records than a row group has at least, and small ones.
    let mut rows = Vec::new();
    for (day, count) in [(1, 20_000), (2, 30), (3, 17_000), (5, 40), (6, 2)] {
        rows.extend((0..count).map(|n| {
            let row = Row::on(&format!("2022-02-{day:02}"), &format!("{}.{:03}", n % 7, n % 1000));
            let row = row.asset(&format!("{:05}", n / 2)).with("billingRegion", ["EU", "AP", "NA"][n % 3]);
            if n % 2 == 0 { row.bandwidth() } else { row.with("trial", if n % 5 == 0 { "TRUE" } else { "FALSE" }) }
        }));
    }
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "a.arrows", "a.csv"] {
        let (ok, _, log) = usage(&server, folder.path(), &["-o", name]);
        assert!(ok, "{log}");
    }
    let mut python = Command::new(tool("venv/bin/python"));
    python.arg("-B").arg(project("tests/clients/files.py")).args(["a.parquet", "a.arrows", "a.csv"]);
    let found = crate::clients::run({
        python.current_dir(folder.path());
        python
    });
    let found: Value = serde_json::from_str(&found.await.unwrap()).unwrap();
    for tool in ["pyarrow", "polars", "duckdb", "pyarrow, arrow", "polars, arrow"] {
        assert_eq!(found[tool], found["csv"], "{tool}");
    }
    // A row group ends with a day.
    let groups = serde_json::json!([
        [20_000, "2022-02-01", "2022-02-01"],
        [17_030, "2022-02-02", "2022-02-03"],
        [42, "2022-02-05", "2022-02-06"],
    ]);
    assert_eq!(found["groups"], groups);
    assert_eq!(found["metadata"]["tenantName"], "acme-hq");
    assert_eq!(found["metadata"]["recordCount"], "37072");
    let (_, revision) = server.csv(&crate::support::columns::february(TENANT)).await;
    assert_eq!(found["metadata"]["revision"], revision);
    assert!(found["metadata"]["asOf"].as_str().is_some_and(|time| time.ends_with('Z')), "{found}");

    let month = "2022-02".parse().unwrap();
    let months = MonthRange::new(month, month).unwrap();
    let query =
        CostsQuery { organization_id: ORG.parse().unwrap(), tenant_id: None, months, as_of: None, current: false };
    let costs = server.client().await.monthly_costs(&query).await.unwrap();
    let plain = |text: &str| secure_connect_reports::model::plain(&text.parse().unwrap());
    let mut billed = Vec::new();
    for line in &costs.lines {
        let region = secure_connect_reports::model::BillingRegion::from_code(line.billing_region).unwrap().to_string();
        for (trial, quantity) in [(false, &line.quantity), (true, &line.trial_quantity)] {
            if quantity != "0" {
                billed.push(serde_json::json!([line.meter_name, region, trial, quantity]));
            }
        }
    }
    let sums = found["sums"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sum| serde_json::json!([sum[0], sum[1], sum[2], plain(sum[3].as_str().unwrap())]));
    assert_eq!(sums.collect::<Vec<_>>(), billed);
}

#[tokio::test]
async fn a_form_is_asked_for_or_read_from_the_name() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1.50")])).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str]| usage(&server, folder.path(), arguments);
    for format in ["parquet", "jsonl", "arrow", "csv"] {
        let (ok, _, log) = usage(&["--format", format]);
        assert!(ok, "{log}");
    }
    let expected = ["arrows", "csv", "jsonl", "parquet"].map(|end| format!("acme-hq_detailed_usage_2022-02.{end}"));
    assert_eq!(names(folder.path()), expected);
    let (ok, _, log) = usage(&["--format", "jsonl", "-o", "named.csv"]);
    assert!(ok && fs::read_to_string(folder.path().join("named.csv")).unwrap().starts_with("{\"org"), "{log}");

    // What is there stays, unless it may be replaced.
    let (ok, _, log) = usage(&["--format", "parquet"]);
    assert!(!ok && log.contains("exists; use --force to replace it"), "{log}");
    let (ok, _, log) = usage(&["--format", "parquet", "--force"]);
    assert!(ok, "{log}");

    for (arguments, said) in [
        (&["-o", "x.parquet.gz"][..], "--format parquet cannot be compressed as a whole: name the file .parquet"),
        (
            &["--format", "arrow", "-o", "x.zst"],
            "--format arrow cannot be compressed as a whole: name the file .arrows",
        ),
        (
            &["-o", "x.parquet", "--crlf"],
            "--crlf, --bom and --neutralize-formulas are of CSV, and not of --format parquet",
        ),
        (&["-o", "x.jsonl", "--bom"], "are of CSV, and not of --format jsonl"),
        (&["-o", "x.parquet", "--resume"], "--resume continues files of plain CSV; run the command without it"),
        (&["-o", "x.csv.gz", "--resume"], "--resume continues files of plain CSV; run the command without it"),
        (&["--format", "xlsx"], "possible values: csv, parquet, arrow, jsonl"),
        (&["-o", "nowhere/x.parquet"], "nowhere/x.parquet: No such file"),
        (&["-o", "/dev/full", "--format", "parquet"], "/dev/full: No space left on device"),
        (&["-o", "/dev/full", "--format", "jsonl"], "/dev/full: No space left on device"),
    ] {
        let (ok, _, log) = usage(arguments);
        assert!(!ok && log.contains(said), "{arguments:?}: {log}");
    }
    // A month without usage has files without rows.
    for name in ["e.parquet", "e.arrows", "e.jsonl"] {
        let mut command = client(&server, &["usage", "--tenant", TENANT, "--month", "2022-03", "-o", name]);
        let (ok, _, log) = run(command.current_dir(folder.path()));
        assert!(ok && log.ends_with("acme-hq has no matching usage in 2022-03; the file has no rows\n"), "{log}");
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(folder.path().join("e.parquet")).unwrap());
    let reader = reader.unwrap();
    assert_eq!((reader.metadata().file_metadata().num_rows(), reader.schema().fields().len()), (0, 14));
    assert_eq!(fs::read_to_string(folder.path().join("e.jsonl")).unwrap(), "");
    assert!(names(folder.path()).iter().all(|name| !name.contains(".part")), "{:?}", names(folder.path()));
}

/// Connections that are cut, over and over: the files are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_come_whole_over_a_network_that_breaks() {
    let database = Database::with_rows(60_000).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    let expected = csv_rows(&server.february().await);
    type Read = fn(&Path) -> Vec<Vec<String>>;
    // While it is asked, in the first records, in later ones.
    let files: [(&str, [u64; 5], Read); 2] = [
        ("a.arrows", [1, 400, 3_000, 700_000, 1_400_000], arrow_rows),
        ("a.parquet", [1, 400, 3_000, 150_000, 200_000], parquet_rows),
    ];
    for (name, cuts, read) in files {
        let fate = move |connection: u32| Fate {
            cut_after: cuts.get(connection as usize).copied().unwrap_or(u64::MAX),
            pause: Duration::ZERO,
        };
        let proxy = Proxy::start(server.address, fate).await;
        let mut command = program();
        command.args(["usage", "--tenant", TENANT, "--month", "2022-02", "-o", name, "--server", &proxy.url]);
        command.current_dir(folder.path());
        let (ok, _, log) = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
        assert!(ok && proxy.connections() >= 5, "{name}, {} connections: {log}", proxy.connections());
        assert!(log.contains(" of 60000 records were received, resuming"), "{name}: {log}");
        assert!(read(&folder.path().join(name)) == expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_parquet_is_a_data_set_by_year_month_and_tenant() {
    let database = Database::with_catalog().await;
    let rows = [
        Row::on("2022-02-01", "1.5"),
        Row::on("2022-03-01", "2"),
        Row::on("2022-03-02", "0.125").of(ORG, TENANT_2),
        Row::on("2022-03-02", "1000000").of(ORG, TENANT_2).bandwidth(),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    let download = |more: &[&str]| {
        let mut command = client(&server, &["usage", "--organization", ORG, "--month", "2022-01", "--to", "2022-03"]);
        run(command.args(["--format", "parquet", "-o", "lake/"]).args(more).current_dir(folder.path()))
    };
    let (ok, _, log) = download(&[]);
    assert!(ok && log.contains("lake/manifest.json: 3 files, 4 rows, 3 reports without rows"), "{log}");
    let manifest: Value = serde_json::from_slice(&fs::read(folder.path().join("lake/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["asked"]["format"], "parquet");
    let files: Vec<&str> =
        manifest["reports"].as_array().unwrap().iter().filter_map(|report| report["file"].as_str()).collect();
    let file = |month: &str, tenant: &str| format!("year=2022/month={month}/tenant={tenant}/detailed_usage.parquet");
    assert_eq!(files, [file("02", TENANT), file("03", TENANT), file("03", TENANT_2)]);
    let script = "import duckdb, json; \
        print(json.dumps(duckdb.sql(\"SELECT year, month::int, tenant, sum(quantity)::varchar FROM \
        read_parquet('lake/**/*.parquet', hive_partitioning = true) GROUP BY ALL ORDER BY ALL\").fetchall()))";
    let mut python = Command::new(tool("venv/bin/python"));
    python.args(["-B", "-c", script]).current_dir(folder.path());
    let found: Value = serde_json::from_str(&crate::clients::run(python).await.unwrap()).unwrap();
    let expected = serde_json::json!([
        [2022, 2, TENANT, "1.500000000000000000"],
        [2022, 3, TENANT, "2.000000000000000000"],
        [2022, 3, TENANT_2, "1000000.125000000000000000"],
    ]);
    assert_eq!(found, expected);

    // As of other forms, nothing is replaced unasked, and all is.
    let (ok, _, log) = download(&[]);
    assert!(!ok && log.contains("exists; use --force"), "{log}");
    // What has no rows any more has no file that would be counted.
    let february = folder.path().join("lake").join(file("02", TENANT));
    assert!(february.exists());
    let request = secure_connect_reports::contract::proto::WithdrawUsageRequest {
        tenant_id: TENANT.to_owned(),
        usage_day: "2022-02-01".to_owned(),
        ..Default::default()
    };
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut imports =
        secure_connect_reports::contract::proto::usage_import_service_client::UsageImportServiceClient::new(channel);
    imports.withdraw_usage(request).await.unwrap();
    let (ok, _, log) = download(&["--force"]);
    assert!(ok && log.contains("2 files, 3 rows, 4 reports without rows"), "{log}");
    assert!(!february.exists());
}

/// The rows of CSV with decimals without the zeros at their end.
fn plain_rows(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(csv.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let is_decimal = |name: &str| {
        ["quantity", "Quantity", "cost", "ount", "Price", "tierFrom", "tierTo"].iter().any(|part| name.contains(part))
    };
    let rows = reader.records().map(|row| {
        let cell = |(name, text): (&String, &str)| match text {
            "" => String::new(),
            text if is_decimal(name) => secure_connect_reports::model::plain(&text.parse().unwrap()),
            text => text.to_owned(),
        };
        names.iter().zip(row.unwrap().iter()).map(cell).collect()
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_and_their_parts_have_these_forms_too() {
    let database = Database::with_catalog().await;
    let mut rows: Vec<Row> =
        (0..40).map(|n| Row::on("2022-02-01", "1.25").asset(&format!("{n:02}")).bandwidth()).collect();
    rows.push(Row::on("2022-02-02", "0.000000000125").of(ORG, TENANT_2));
    rows.push(Row::on("2022-02-02", "3").of(ORG, TENANT_2).with("trial", "TRUE").with("assetName", ""));
    // Nothing in EUR has a price.
    rows.push(Row::on("2022-02-02", "5").of(crate::support::builder::ORG_EUR, crate::support::builder::TENANT_EUR));
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    let costs = |arguments: &[&str], format: &str| {
        let mut command = client(&server, &["costs", "--month", "2022-02", "--format", format]);
        command.args(arguments).output().unwrap()
    };
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    for arguments in [
        &[][..],
        &["--organization", ORG],
        &["--organization", ORG, "--tiers"],
        &["--organization", ORG, "--by", "asset,day,platform"],
    ] {
        let csv = costs(arguments, "csv");
        assert!(csv.status.success(), "{}", String::from_utf8_lossy(&csv.stderr));
        let expected = plain_rows(&String::from_utf8(csv.stdout).unwrap());
        assert!(expected.len() >= 2, "{arguments:?}: {expected:?}");
        let parquet = costs(arguments, "parquet");
        assert_eq!(parquet.stderr, csv.stderr, "the same warnings");
        assert_eq!(parquet_rows(&file("a.parquet", &parquet.stdout)), expected, "{arguments:?}");
        assert_eq!(arrow_rows(&file("a.arrows", &costs(arguments, "arrow").stdout)), expected, "{arguments:?}");
        let json = String::from_utf8(costs(arguments, "jsonl").stdout).unwrap();
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), expected.len());
        assert!(lines[0]["recordCount"].is_i64() && lines[0]["quantity"].is_string(), "{json}");
    }
    for (arguments, format, said) in [
        (&["--tiers"][..], "table", "--tiers needs --format csv, parquet, arrow or jsonl"),
        (&["--neutralize-formulas"], "parquet", "--neutralize-formulas is of CSV"),
        (&[], "xlsx", "possible values: table, json, csv, parquet, arrow, jsonl"),
    ] {
        let output = costs(arguments, format);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && log.contains(said), "{log}");
    }
    let command = client(&server, &["costs", "--month", "2022-02", "--format", "parquet"]);
    let (ok, shown) = crate::support::terminal::run_on_terminal(command).await;
    assert!(!ok && shown.contains("--format parquet is not for a terminal: write it to a file"), "{shown}");
}
