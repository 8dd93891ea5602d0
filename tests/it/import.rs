//! Importing: what is read, what is refused, and what a restatement says.

use std::io::Write as _;

use secure_connect_reports::{
    ingest::{ImportError, ImportReport, InvalidUsage, LoadOutcome},
    model::Column,
};

use crate::support::{
    Database,
    builder::{GIB, HOURS, ORG, Row, TENANT, TENANT_2, csv},
};

async fn refused(database: &Database, csv: &str) -> InvalidUsage {
    match database.try_import(csv, "default", false).await {
        Err(ImportError::Invalid(invalid)) => invalid,
        other => panic!("not refused: {other:?}"),
    }
}

/// Place, column and reason of each problem that is shown.
fn problems(invalid: &InvalidUsage) -> Vec<(u64, &str, &str)> {
    invalid.first.iter().map(|problem| (problem.number, problem.column, problem.reason.as_str())).collect()
}

fn outcomes(report: &ImportReport) -> Vec<&'static str> {
    report.loads.iter().map(|load| load.outcome.name()).collect()
}

async fn count(database: &Database, table: &str) -> i64 {
    let sql = database.sql().await;
    sql.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_same_content_again_changes_nothing() {
    let database = Database::with_catalog().await;
    let rows = [Row::on("2022-02-01", "1"), Row::on("2022-02-02", "2"), Row::on("2022-02-01", "3").of(ORG, TENANT_2)];
    let first = database.import(&csv(&rows)).await;
    assert_eq!(outcomes(&first), ["published"; 3]);
    let days: Vec<_> =
        first.loads.iter().map(|load| (load.tenant_id.to_string(), load.usage_day.to_string())).collect();
    let day = |tenant: &str, day: &str| (tenant.to_owned(), day.to_owned());
    assert_eq!(days, [day(TENANT, "2022-02-01"), day(TENANT, "2022-02-02"), day(TENANT_2, "2022-02-01")]);

    let shuffled = [rows[2].clone(), rows[1].clone(), rows[0].clone()];
    let again = database.import(&csv(&shuffled)).await;
    assert_eq!(outcomes(&again), ["unchanged"; 3]);
    assert_eq!(again.published_at, None);
    for (table, rows) in [("usage_load", 3), ("usage_record", 3), ("usage_total", 3), ("usage_import", 1), ("asset", 2)]
    {
        assert_eq!(count(&database, table).await, rows, "{table}");
    }
}

#[tokio::test]
async fn a_digest_is_that_of_the_lines_of_the_report() {
    use sha2::Digest as _;
    let database = Database::with_catalog().await;
    let rows = [Row::on("2022-02-01", "1").asset("b"), Row::on("2022-02-01", "2.50").asset("a")];
    let report = database.import(&csv(&rows)).await;
    let lines = csv(&[rows[1].clone(), rows[0].clone()]);
    let (_header, lines) = lines.split_once('\n').unwrap();
    let expected: [u8; 32] = sha2::Sha256::digest(lines).into();
    assert_eq!(report.loads[0].digest, expected);
}

#[tokio::test]
async fn a_restatement_says_what_it_superseded() {
    let database = Database::with_catalog().await;
    let rows = [
        Row::on("2022-02-01", "1.5"),
        Row::on("2022-02-01", "10").bandwidth(),
        Row::on("2022-02-01", "20").bandwidth().asset("other"),
    ];
    let first = database.import(&csv(&rows)).await;
    let server = database.serve();
    let before = server.february().await;
    let corrected = csv(&[Row::on("2022-02-01", "1.50"), Row::on("2022-02-01", "9.25").bandwidth()]);

    let dry = database.try_import(&corrected, "default", true).await.unwrap();
    assert_eq!((outcomes(&dry), dry.published_at), (vec!["restated"], None));
    assert_eq!(server.february().await, before);

    let second = database.import(&corrected).await;
    assert!(second.published_at > first.published_at);
    let [load] = second.loads.as_slice() else { panic!("one load") };
    let LoadOutcome::Restated(restatement) = &load.outcome else { panic!("a restatement") };
    assert_eq!(load.record_count, 2);
    assert_eq!(restatement.superseded_record_count, 3);
    assert_eq!(Some(restatement.superseded_published_at), first.published_at);
    assert_eq!(restatement.returns_to, None);
    let quantity = |meter: &str, before: &str, after: &str| (meter.to_owned(), before.to_owned(), after.to_owned());
    assert_eq!(restatement.quantities, [quantity(GIB, "30", "9.25"), quantity(HOURS, "1.5", "1.5")]);
    assert_eq!(server.february().await.lines().count(), 3);
    // The superseded load stays.
    assert_eq!((count(&database, "usage_load").await, count(&database, "usage_record").await), (2, 5));

    // Going back is a restatement like any other, and is told: it may be an old file that came again.
    let back = database.import(&csv(&rows)).await;
    let LoadOutcome::Restated(restatement) = &back.loads[0].outcome else { panic!("a restatement") };
    assert_eq!(restatement.returns_to, first.published_at);
    assert_eq!(server.february().await, before);
}

#[tokio::test]
async fn sources_add_up_and_supersede_only_themselves() {
    let database = Database::with_catalog().await;
    database.import_from("meter-a", &csv(&[Row::on("2022-02-01", "1")])).await;
    database.import_from("meter-b", &csv(&[Row::on("2022-02-01", "2")])).await;
    database.import_from("meter-a", &csv(&[Row::on("2022-02-01", "3")])).await;
    let server = database.serve();
    assert_eq!(server.february().await, csv(&[Row::on("2022-02-01", "3"), Row::on("2022-02-01", "2")]));
}

#[tokio::test]
async fn the_same_rows_from_two_sources_are_told() {
    let database = Database::with_catalog().await;
    let file = csv(&[Row::on("2022-02-01", "1")]);
    let first = database.import_from("meter-a", &file).await;
    assert_eq!(first.loads[0].also_from, None);
    assert_eq!(database.import(&file).await.loads[0].also_from.as_deref(), Some("meter-a"));
    database.import_from("meter-a", &csv(&[Row::on("2022-02-01", "2")])).await;
    assert_eq!(database.import_from("meter-c", &file).await.loads[0].also_from.as_deref(), Some("default"));
}

#[tokio::test]
async fn columns_may_be_in_any_order_and_files_come_as_spreadsheets_write_them() {
    let database = Database::with_catalog().await;
    let rows =
        [Row::on("2022-02-01", "1").with("assetName", "Smith, \"Jo\"\nEsq."), Row::on("2022-02-01", "2").asset("x")];
    let plain = csv(&rows);
    database.import(&plain).await;

    let mut reader = csv::Reader::from_reader(plain.as_bytes());
    let mut reversed =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(b"\xef\xbb\xbf".to_vec());
    reversed.write_record(Column::NAMES.iter().rev()).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        reversed.write_record(record.iter().rev()).unwrap();
    }
    let reversed = String::from_utf8(reversed.into_inner().unwrap()).unwrap();
    assert_eq!(outcomes(&database.import(&reversed).await), ["unchanged"]);
}

#[tokio::test]
async fn compressed_files_are_read() {
    let database = Database::with_catalog().await;
    let plain = csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "2")]);
    let folder = tempfile::tempdir().unwrap();
    let gz = folder.path().join("usage.csv.gz");
    let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(&gz).unwrap(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let whole_gz = std::fs::read(&gz).unwrap();
    assert_eq!(outcomes(&database.import_file(gz.clone(), "default", false).await.unwrap()), ["published"; 2]);

    let zst = folder.path().join("usage.csv.zst");
    std::fs::write(&zst, zstd::encode_all(plain.as_bytes(), 1).unwrap()).unwrap();
    assert_eq!(outcomes(&database.import_file(zst.clone(), "default", false).await.unwrap()), ["unchanged"; 2]);

    // Two compressed files in a row are one.
    let (head, tail) = plain.split_at(plain.len() - 20);
    for (path, parts) in [
        (
            &gz,
            [head, tail].map(|part| {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(part.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }),
        ),
        (&zst, [head, tail].map(|part| zstd::encode_all(part.as_bytes(), 1).unwrap())),
    ] {
        std::fs::write(path, parts.concat()).unwrap();
        assert_eq!(outcomes(&database.import_file(path.clone(), "default", false).await.unwrap()), ["unchanged"; 2]);
    }
    std::fs::write(&gz, &whole_gz).unwrap();

    // A file that is cut short publishes nothing.
    let whole = std::fs::read(&gz).unwrap();
    let changed = plain.replace("Joe", "Jane");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(changed.as_bytes()).unwrap();
    let cut = encoder.finish().unwrap();
    std::fs::write(&gz, &cut[..whole.len().min(cut.len()) - 9]).unwrap();
    let error = database.import_file(gz, "default", false).await.expect_err("a cut file");
    assert!(matches!(error, ImportError::Io { .. }), "{error}");
    assert_eq!(count(&database, "usage_load").await, 2);
}

#[tokio::test]
async fn the_first_problems_are_told_and_the_rest_are_counted() {
    let database = Database::with_catalog().await;
    let mut rows = vec![Row::on("2022-02-01", "1").asset("good")];
    rows.extend((0..30).map(|n| Row::on("2022-02-01", "x").asset(&n.to_string())));
    rows.push(Row::on("2022-02-01", "1").with("trial", "maybe").with("billingRegion", "XX"));
    let invalid = refused(&database, &csv(&rows)).await;
    assert_eq!((invalid.total, invalid.first.len()), (32, 20));
    let first = &invalid.first[0];
    assert_eq!((first.number, first.column, first.value.as_str()), (3, "quantity", "x"));
    assert_eq!(invalid.first[19].number, 22);
    assert_eq!(count(&database, "usage_record").await, 0);

    let long = Row::on("2022-02-01", &"9".repeat(500));
    assert_eq!(refused(&database, &csv(&[long])).await.first[0].value.chars().count(), 81);
}

#[tokio::test]
async fn lines_are_counted_as_an_editor_does() {
    let database = Database::with_catalog().await;
    let rows = [
        Row::on("2022-02-01", "1").with("assetName", "two\nlines"),
        Row::on("2022-02-01", "2").asset("x").with("trial", "no"),
    ];
    assert_eq!(problems(&refused(&database, &csv(&rows)).await), [(4, "trial", "not TRUE or FALSE")]);
}

#[tokio::test]
async fn rows_given_twice_are_told_also_when_they_differ_elsewhere() {
    let database = Database::with_catalog().await;
    let row = || Row::on("2022-02-01", "1");
    let rows = [
        row(),
        row().with("end", "2022-02-01T02:00:00Z"),
        row().with("billingRegion", "NA"),
        row().bandwidth(),
        row().bandwidth().with("platform", "mcp"),
        row().with("assetType", "ENDPOINT"),
        row().of(ORG, TENANT_2),
        // A trial that ends within the day.
        row().with("trial", "TRUE"),
        // These are rows 1 and 4 again.
        row().with("quantity", "5").with("trialExpiry", "2022-02-02T00:00:00Z").with("assetName", "Another name"),
        row().bandwidth().with("trialExpiry", "2022-02-02T00:00:00Z"),
    ];
    let invalid = refused(&database, &csv(&rows)).await;
    let twice = |line: u64| {
        format!(
            "has the same asset, meter, period, region, platform and trial as line {line}; add up the quantities, or give each row its own period"
        )
    };
    assert_eq!(problems(&invalid), [(10, "assetId", &*twice(2)), (11, "assetId", &*twice(5)),]);
    assert_eq!(database.import(&csv(&rows[..8])).await.record_count, 8);
}

#[tokio::test]
async fn a_file_of_another_form_is_refused_with_the_mend() {
    let database = Database::with_catalog().await;
    let good = csv(&[Row::on("2022-02-01", "1")]);
    let header = good.lines().next().unwrap();
    let missing = good.replace(",trialExpiry\n", "\n");
    for (text, expected) in [
        (String::new(), vec![(1, "", "the file is empty; the first line must name the columns")]),
        (missing, vec![(1, "trialExpiry", "the column is missing")]),
        (
            good.replace("trialExpiry", "trialEnd"),
            vec![(1, "", "is not a column of the report; remove it"), (1, "trialExpiry", "the column is missing")],
        ),
        (
            good.replace("trialExpiry", "trial"),
            vec![(1, "", "occurs twice; remove one of them"), (1, "trialExpiry", "the column is missing")],
        ),
        (format!("{header}\na,b\n"), vec![(2, "", "the row has 2 fields; the header has 14")]),
        (good.replace("Joe", &"x".repeat(1 << 20)), vec![(2, "", "the row is longer than 1 MiB")]),
        // A quote that is not closed: the file is not read to its end.
        (
            format!("{}{}", good.replace("Joe", "\"Joe"), "x".repeat(8 << 20)),
            vec![(
                2,
                "assetName",
                "the quote that begins this field is never closed, so the rest of the file was not read; to write a quote \
                 within a field, put the field in quotes and double the quote",
            )],
        ),
    ] {
        assert_eq!(problems(&refused(&database, &text).await), expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let latin = folder.path().join("latin.csv");
    let bytes: Vec<u8> =
        good.replace("Joe", "J\u{1}").bytes().map(|byte| if byte == 1 { 0xf6 } else { byte }).collect();
    std::fs::write(&latin, bytes).unwrap();
    let Err(ImportError::Invalid(invalid)) = database.import_file(latin, "default", false).await else {
        panic!("not refused")
    };
    assert_eq!(problems(&invalid), [(2, "assetName", "is not UTF-8; save the file as UTF-8")]);
    // A header alone is a file without usage.
    assert_eq!(database.import(&format!("{header}\n")).await.loads.len(), 0);
    let error = database.import_file("/nowhere/usage.csv".into(), "default", false).await.unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/usage.csv: "), "{error}");
}

#[tokio::test]
async fn the_view_shows_the_report_under_its_columns() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1").asset("superseded")])).await;
    let row =
        Row::on("2022-02-01", "2.50").bandwidth().with("platform", "mcp").with("trialExpiry", "2022-02-02T00:00:00Z");
    database.import(&csv(std::slice::from_ref(&row))).await;
    let sql = database.sql().await;
    let rows = sql.query("SELECT v.* FROM detailed_usage_report v", &[]).await.unwrap();
    let names: Vec<_> = rows[0].columns().iter().map(tokio_postgres::Column::name).collect();
    assert_eq!(names, Column::NAMES);
    sql.batch_execute("SET timezone = 'UTC'").await.unwrap();
    let select = r#"SELECT "organizationId"::text, "tenantId"::text, "assetName", "assetId", "assetType", "meterName",
                           "meterId"::text, to_char("start", 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                           to_char("end", 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), quantity::text, "billingRegion", platform,
                           upper(trial::text), to_char("trialExpiry", 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                    FROM detailed_usage_report"#;
    let rows = sql.query(select, &[]).await.unwrap();
    let found: Vec<Vec<String>> =
        rows.iter().map(|row| (0..14).map(|column| row.get::<_, String>(column)).collect()).collect();
    assert_eq!(found, [row.0.to_vec()]);
}

/// Lines are checked some thousands at a time, with the tenants that they name.
#[tokio::test]
async fn problems_come_in_the_order_of_lines_however_many_there_are() {
    const ROWS: u64 = 12_000;
    let database = Database::with_catalog().await;
    let mut rows: Vec<Row> = (2..ROWS + 2)
        .map(|line| {
            Row::on("2022-02-01", "1").asset(&format!("{line:05}")).of(ORG, [TENANT, TENANT_2][(line % 2) as usize])
        })
        .collect();
    let sound = csv(&rows);
    let nowhere = |n: u64| format!("eeeeeeee-0000-4000-8000-{n:012}");
    for line in [4_095_u64, 4_096, 4_097, 4_098, 8_193, 8_194, 9_001] {
        rows[line as usize - 2] = rows[line as usize - 2].clone().of(ORG, &nowhere(line));
    }
    let foreign = rows[100].clone().with("organizationId", &nowhere(1));
    rows[100] = foreign;
    let mut lines: Vec<String> = csv(&rows).lines().map(str::to_owned).collect();
    // A quote in a text, between the two.
    lines[4_199] = lines[4_199].replacen("Joe", "J\"oe", 1);
    let invalid = refused(&database, &(lines.join("\n") + "\n")).await;
    let places: Vec<(u64, &str)> = invalid.first.iter().map(|problem| (problem.number, problem.column)).collect();
    let expected = [
        (102, "organizationId"),
        (4_095, "tenantId"),
        (4_096, "tenantId"),
        (4_097, "tenantId"),
        (4_098, "tenantId"),
        (4_200, "assetName"),
        (8_193, "tenantId"),
        (8_194, "tenantId"),
        (9_001, "tenantId"),
    ];
    assert_eq!((places.as_slice(), invalid.total), (expected.as_slice(), 9));
    assert_eq!(count(&database, "usage_load").await, 0);

    // Only the first ones are shown, and all are counted.
    let nobody = csv(&(0..ROWS).map(|n| Row::on("2022-02-01", "1").of(ORG, &nowhere(n))).collect::<Vec<_>>());
    let invalid = refused(&database, &nobody).await;
    let numbers: Vec<u64> = invalid.first.iter().map(|problem| problem.number).collect();
    assert_eq!((numbers, invalid.total), ((2..22).collect(), ROWS));
    // Two rows that are there twice, of tenants that are planned apart.
    let mut twice: Vec<&str> = sound.lines().collect();
    twice.extend([twice[2_000], twice[2_001]]);
    let invalid = refused(&database, &(twice.join("\n") + "\n")).await;
    let places: Vec<(u64, &str)> = invalid.first.iter().map(|problem| (problem.number, problem.column)).collect();
    assert_eq!((places, invalid.total), (vec![(ROWS + 2, "assetId"), (ROWS + 3, "assetId")], 2));
    // Ids that look alike, of both tenants.
    let alike = [TENANT, TENANT_2]
        .into_iter()
        .flat_map(|tenant| ["caf\u{e9}", "cafe\u{301}"].map(|id| Row::on("2022-02-01", "1").asset(id).of(ORG, tenant)));
    let alike = csv(&alike.collect::<Vec<_>>());
    let (_, alike) = alike.split_once('\n').unwrap();
    let report = database.import(&(sound + alike)).await;
    assert_eq!((report.record_count, outcomes(&report)), (ROWS + 4, vec!["published"; 2]));
    let warnings: Vec<(u64, (usize, u64))> =
        report.warnings.iter().map(|warning| (warning.count, warning.first)).collect();
    assert_eq!(warnings, [(2, (0, ROWS + 3))]);
}
