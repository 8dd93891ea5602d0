//! What a caller sends never grows: each message, list and text of a request has a bound, which the error names.

use prost::{Message as _, encoding};
use prost_types::{
    DescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use secure_connect_reports::contract::proto::{
    BreakdownFilter, DESCRIPTORS, GetCostBreakdownRequest, GetDetailedUsageRequest, ImportUsageRequest, UsageFilter,
    UsageRecord,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    calls::{cost_breakdown, detailed_usage, reason},
    program,
    raw::{Connection, Verbatim},
    serving::Serving,
};

const IMPORT: &str = "UsageImportService/ImportUsage";
const USAGE: &str = "ReportsService/GetDetailedUsage";
const BREAKDOWN: &str = "ReportsService/GetCostBreakdown";
const MIB: usize = 1 << 20;

/// The most memory that a process ever had, in bytes.
fn peak_memory(serving: &Serving) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") << 10
}

async fn status_of(connection: &mut Connection, rpc: &str, message: &impl prost::Message) -> Status {
    connection.answer(rpc, &[], message).await.read::<()>().await.1
}

fn violation(status: &Status) -> (String, String) {
    let violation = status.get_details_bad_request().expect("a field").field_violations.remove(0);
    (violation.field, violation.description)
}

/// 4 MiB of records of two bytes would be 600 MiB of messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_records_of_several_callers_take_little_memory() {
    const CALLERS: usize = 4;
    let database = Database::with_catalog().await;
    let mut command = program();
    command.env("DATABASE_URL", &database.url);
    let serving = Serving::open_with(&mut command, &["--max-imports-per-caller", "4"]);
    let address = serving.url.trim_start_matches("http://").parse().unwrap();
    let mut connections = Vec::new();
    for _ in 0..CALLERS {
        connections.push(Connection::open(address, 64 << 10).await);
        status_of(connections.last_mut().unwrap(), IMPORT, &ImportUsageRequest::default()).await;
    }
    let before = peak_memory(&serving);
    for (records, code) in [(2 * MIB, Code::InvalidArgument), (10_000, Code::InvalidArgument)] {
        let calls = connections.iter_mut().map(|connection| async move {
            let message = Verbatim([0x12, 0].repeat(records));
            let status = status_of(connection, IMPORT, &message).await;
            assert_eq!(status.code(), code, "{status:?}");
            status
        });
        let statuses = futures_util::future::join_all(calls).await;
        for status in statuses {
            if records > 10_000 {
                let expected = "has more than 10000 entries; one message may have 10000";
                assert_eq!(violation(&status), ("records".to_owned(), expected.to_owned()));
            } else {
                assert_eq!(reason(&status).1, "INVALID_USAGE", "they were read");
            }
        }
    }
    let grown = peak_memory(&serving).saturating_sub(before);
    assert!(grown < 96 * MIB, "{} MiB for {CALLERS} callers", grown / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_a_filter_have_a_bound() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let mut connection = Connection::open(server.address, 64 << 10).await;
    let texts = |count: usize| vec![String::new(); count];
    for (filter, field, max) in [
        (UsageFilter { asset_ids: texts(1001), ..Default::default() }, "filter.asset_ids", 1000),
        (UsageFilter { meter_names: texts(400_000), ..Default::default() }, "filter.meter_names", 1000),
        (UsageFilter { asset_types: vec![1; 1_000_000], ..Default::default() }, "filter.asset_types", 1000),
        (UsageFilter { billing_regions: vec![1; 1001], ..Default::default() }, "filter.billing_regions", 1000),
    ] {
        let request =
            GetDetailedUsageRequest { filter: Some(filter), ..detailed_usage(crate::support::builder::TENANT) };
        let status = status_of(&mut connection, USAGE, &request).await;
        let expected = format!("has more than {max} entries; one message may have {max}");
        assert_eq!((status.code(), violation(&status)), (Code::InvalidArgument, (field.to_owned(), expected)));
    }
    let breakdown = |filter: BreakdownFilter| GetCostBreakdownRequest {
        filter: Some(filter),
        ..cost_breakdown(crate::support::builder::ORG, &[1])
    };
    for (request, field, max) in [
        (breakdown(BreakdownFilter { asset_ids: texts(1001), ..Default::default() }), "filter.asset_ids", 1000),
        (breakdown(BreakdownFilter { meter_names: texts(400_000), ..Default::default() }), "filter.meter_names", 1000),
        (breakdown(BreakdownFilter { asset_types: vec![1; 1001], ..Default::default() }), "filter.asset_types", 1000),
        (
            breakdown(BreakdownFilter { billing_regions: vec![1; 1_000_000], ..Default::default() }),
            "filter.billing_regions",
            1000,
        ),
        (cost_breakdown(crate::support::builder::ORG, &[1; 1_000_000]), "group_by", 16),
    ] {
        let status = status_of(&mut connection, BREAKDOWN, &request).await;
        let expected = format!("has more than {max} entries; one message may have {max}");
        assert_eq!((status.code(), violation(&status)), (Code::InvalidArgument, (field.to_owned(), expected)));
    }
    // As many as there may be are taken.
    let asset_ids = (0..1000).map(|n| format!("{n:0512}")).collect();
    let filter =
        UsageFilter { asset_types: vec![1; 1000], billing_regions: vec![1; 1000], asset_ids, ..Default::default() };
    let request = GetDetailedUsageRequest { filter: Some(filter), ..detailed_usage(crate::support::builder::TENANT) };
    assert_eq!(status_of(&mut connection, USAGE, &request).await.code(), Code::Ok);
    // A delivery may have any number of records, in more messages.
    let records = vec![UsageRecord::default(); 10_000];
    let message = ImportUsageRequest { records, ..Default::default() };
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut imports =
        secure_connect_reports::contract::proto::usage_import_service_client::UsageImportServiceClient::new(channel);
    let status = imports.import_usage(tokio_stream::iter(vec![message; 3])).await.unwrap_err();
    assert_eq!(reason(&status).1, "INVALID_USAGE");
    assert!(status.message().starts_with("nothing was imported: 300000 problems"), "{}", status.message());
}

/// The fields of a message that are texts, as the numbers that lead to each.
fn texts_of(message: &DescriptorProto, all: &[(String, DescriptorProto)]) -> Vec<Vec<u32>> {
    let mut texts = Vec::new();
    for field in &message.field {
        let number = field.number().unsigned_abs();
        match field.r#type() {
            Type::String => texts.push(vec![number]),
            Type::Message => {
                let (_, inner) = all.iter().find(|(name, _)| name == field.type_name()).expect("a message");
                texts.extend(texts_of(inner, all).into_iter().map(|path| [vec![number], path].concat()));
            }
            _ => assert!(field.label() != Label::Repeated || field.r#type() == Type::Enum, "{}", field.name()),
        }
    }
    texts
}

/// A message with nothing but a text.
fn with_text(path: &[u32], text: &str) -> Vec<u8> {
    path.iter().rev().fold(text.as_bytes().to_vec(), |content, &field| {
        let mut outer = Vec::new();
        encoding::encode_key(field, encoding::WireType::LengthDelimited, &mut outer);
        encoding::encode_varint(content.len() as u64, &mut outer);
        outer.extend_from_slice(&content);
        outer
    })
}

/// Every text of every request, whichever RPC is added: alone, and far too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_of_every_request_has_a_bound() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let contract = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let all: Vec<(String, DescriptorProto)> = contract
        .file
        .iter()
        .flat_map(|file| {
            file.message_type.iter().map(|message| (format!(".{}.{}", file.package(), message.name()), message.clone()))
        })
        .collect();
    let mut asked = 0;
    for service in contract.file.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            let (_, input) = all.iter().find(|(name, _)| name == method.input_type()).unwrap();
            for path in texts_of(input, &all) {
                for bytes in [5000, 100_000, 3 * MIB] {
                    let rpc = format!("{}/{}", service.name(), method.name());
                    let status = refused(&server, &rpc, &with_text(&path, &"x".repeat(bytes))).await;
                    let told = format!("{rpc} {path:?}, {bytes} bytes: {status:?}");
                    assert!([Code::InvalidArgument, Code::ResourceExhausted].contains(&status.code()), "{told}");
                    assert!(status.message().len() < 300, "{told}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked >= 3 * 20, "{asked} questions");
}

async fn refused(server: &Server, rpc: &str, message: &[u8]) -> Status {
    let mut connection = Connection::open(server.address, 64 << 10).await;
    status_of(&mut connection, rpc, &Verbatim(message.to_vec())).await
}
