//! Reports that are not those that were asked for: there is no file of Parquet of them.

use std::{path::Path, sync::Arc};

use arrow_flight::{FlightInfo, flight_service_client::FlightServiceClient};
use secure_connect_reports::contract::proto::GetDetailedUsageResponse;
use tonic::transport::Channel;

use super::{
    columns::Liar,
    reports::{ANSWERS, MANY_METERS, Report, header, is_empty, rest, sound},
    server::{Ended, limited, run, serve_both, streams},
};
use crate::support::{
    Database,
    builder::{ORG_EUR, TENANT, TENANT_2},
    calls::flight_path,
    packing::packed,
};

/// What a server says of the columns of the sound report, but with other metadata.
async fn told(changed: &[(&str, &str)]) -> FlightInfo {
    let database = Database::with_catalog().await;
    let info = database.serve().flight_info(flight_path("detailed_usage", TENANT, "2022-02")).await.unwrap();
    let mut schema = info.try_decode_schema().unwrap();
    let revision = header().revision;
    let sound = [("revision", revision.as_str()), ("recordCount", "3"), ("dataAsOf", "2022-03-13T00:00:00Z")];
    for (name, value) in sound.iter().chain(changed) {
        schema.metadata.insert((*name).to_owned(), (*value).to_owned());
    }
    FlightInfo::new().try_with_schema(&schema).unwrap().with_total_records(3)
}

async fn ask(reports: Vec<Report>, told: FlightInfo, folder: &Path, more: &[&str]) -> Ended {
    let server = FlightServiceClient::new(Channel::from_static("http://127.0.0.1:1").connect_lazy());
    let liar = Liar { server, told: Some(told), info: None, tickets: None, change: Arc::new(|messages| messages) };
    let server = serve_both(streams(reports), Some(liar)).await;
    let usage = ["usage", "--tenant", TENANT, "--month", "2022-02", "--retry-for", "60", "-o", "report.parquet"];
    let mut command = limited(&[&usage, more].concat(), &server);
    command.current_dir(folder);
    run(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_was_not_asked_for_is_no_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let told = told(&[]).await;
    let mut files = Vec::new();
    for report in [sound(), packed(&sound())] {
        // One stream, and two of which the first one ends early.
        for reports in [vec![report.clone()], vec![report[..1].to_vec(), rest()]] {
            let ended = ask(reports, told.clone(), folder.path(), &[]).await;
            assert_eq!(ended.code, Some(0), "{ended:?}");
            files.push(std::fs::read(folder.path().join("report.parquet")).unwrap());
            std::fs::remove_file(folder.path().join("report.parquet")).unwrap();
        }
    }
    assert!(files.windows(2).all(|files| files[0] == files[1]), "however they came");
    for (more, change, expected) in ANSWERS.iter().filter(|(_, _, expected)| *expected != MANY_METERS) {
        let mut report = sound();
        change(&mut report);
        for report in [packed(&report), report] {
            let ended = ask(vec![report], told.clone(), folder.path(), more).await;
            ended.assert_error(expected, expected);
            assert!(is_empty(folder.path()), "{expected}");
        }
    }
}

/// A stream that ends before its first record, and goes on as another report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_becomes_another_one_before_its_first_record_is_no_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let empty = vec![GetDetailedUsageResponse { header: Some(header()), ..Default::default() }];
    let told = told(&[]).await;
    let ended = ask(vec![empty.clone(), sound()], told.clone(), folder.path(), &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    std::fs::remove_file(folder.path().join("report.parquet")).unwrap();
    let mut another = sound();
    another[0].header.as_mut().unwrap().revision = "cd".repeat(32);
    let ended = ask(vec![empty, another], told, folder.path(), &[]).await;
    ended.assert_error("the report has another revision now", "another revision");
    assert!(is_empty(folder.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_another_report_are_not_those_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let revision = "cd".repeat(32);
    for (name, value, expected) in [
        // That usage comes between the two calls is no reason to fail, unless it always does.
        ("revision", revision.as_str(), "the report changes again and again"),
        ("revision", "r", "invalid revision"),
        ("organizationId", ORG_EUR, "the report changes again and again"),
        ("tenantId", TENANT_2, "it is of tenant"),
        ("month", "2022-03", "it is of 2022-03, not of 2022-02"),
        ("recordCount", "4", "invalid total_records"),
    ] {
        let ended = ask(vec![sound(); 6], told(&[(name, value)]).await, folder.path(), &[]).await;
        ended.assert_error(expected, expected);
        assert!(is_empty(folder.path()), "{expected}");
    }
}
