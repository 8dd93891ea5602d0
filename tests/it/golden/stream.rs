//! The messages of `GetDetailedUsage`, as bytes.

use bytes::BytesMut;
use prost::Message as _;
use secure_connect_reports::contract::proto::{GetDetailedUsageRequest, GetDetailedUsageResponse, UsageFilter};

use super::{
    assert_golden,
    fixture::{EMPTY, HQ, shared, usage_of},
    mask,
};
use crate::support::{
    Server,
    raw::{Answer, Connection, Verbatim},
};

/// Where a resume token has its time: behind version, kind, tenant, year and month.
const TIME: usize = 2 + 16 + 4 + 4;

/// The messages as they are on the wire.
async fn messages(server: &Server, request: &GetDetailedUsageRequest) -> Vec<Vec<u8>> {
    let mut connection = Connection::open(server.address, 1 << 20).await;
    let Answer { mut body, .. } = connection.answer("ReportsService/GetDetailedUsage", &[], request).await;
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data.expect("data"));
    }
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0], 0, "a message that is not compressed");
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        messages.push(bytes.split_to(5 + length)[5..].to_vec());
    }
    messages
}

/// A message in words and in bytes. What depends on time is replaced in both: the moment of the data, and the time and the
/// check of the token.
fn shown(bytes: &[u8]) -> String {
    let mut message = GetDetailedUsageResponse::decode(bytes).expect("a message");
    assert_eq!(message.encode_to_vec(), bytes, "fields are in order, and defaults are left out");
    if let Some(header) = &mut message.header {
        header.data_as_of = mask::moment(header.data_as_of);
    }
    let mut text = String::new();
    if !message.resume_token.is_empty() {
        let token = mask::token(&message.resume_token, Some(TIME));
        message.resume_token = mask::token_text(&message.resume_token, Some(TIME));
        text.push_str(&format!("resume token: {}\n", fields_of(&token)));
    }
    if let Some(header) = &message.header {
        text.push_str(&format!("{header:?}\n"));
    }
    for record in &message.records {
        text.push_str(&format!("{record:?}\n"));
    }
    if let Some(summary) = &message.summary {
        text.push_str(&format!("{summary:?}\n"));
    }
    let hex = mask::hex(&message.encode_to_vec());
    let mut rest = hex.as_str();
    while !rest.is_empty() {
        let (line, others) = rest.split_at(rest.len().min(120));
        text.push_str(&format!("  {line}\n"));
        rest = others;
    }
    text
}

/// The parts of a resume token.
fn fields_of(token: &[u8]) -> String {
    let mut text = format!("{} bytes", token.len());
    let mut rest = token;
    for (name, length) in [
        ("version", 1),
        ("kind", 1),
        ("tenant", 16),
        ("year", 4),
        ("month", 4),
        ("time (masked)", 8),
        ("revision", 32),
        ("filter", 8),
        ("load", 4),
        ("row", 4),
        ("records before", 8),
        ("check (masked)", 8),
    ] {
        let (part, others) = rest.split_at(length);
        text.push_str(&format!(", {name} {}", mask::hex(part)));
        rest = others;
    }
    assert!(rest.is_empty(), "{text}");
    text
}

fn all_shown(messages: &[Vec<u8>]) -> String {
    messages.iter().zip(1..).map(|(message, number)| format!("message {number}\n{}", shown(message))).collect()
}

#[tokio::test]
async fn messages_of_reports() {
    let (_, server) = shared().await;
    let whole = messages(server, &usage_of(HQ)).await;
    assert_golden("stream/whole.txt", &all_shown(&whole));
    assert_golden("stream/empty.txt", &all_shown(&messages(server, &usage_of(EMPTY)).await));

    let filter = UsageFilter {
        asset_types: vec![2, 1, 2],
        meter_names: vec!["user_hours_essentials".to_owned(), "bandwidth_gib_essentials".to_owned()],
        asset_ids: vec!["transport-1".to_owned(), "zoe\u{308}@example.com".to_owned(), "joe@example.com".to_owned()],
        billing_regions: vec![4, 3],
        trial: Some(false),
    };
    let filtered = GetDetailedUsageRequest { filter: Some(filter), ..usage_of(HQ) };
    assert_golden("stream/filtered.txt", &all_shown(&messages(server, &filtered).await));

    let first = GetDetailedUsageResponse::decode(whole[0].as_slice()).unwrap();
    let resumed = GetDetailedUsageRequest { resume_token: first.resume_token, ..usage_of(HQ) };
    assert_golden("stream/resumed.txt", &all_shown(&messages(server, &resumed).await));
}

/// What stands around the messages: headers, and trailers where the answer has a body.
#[tokio::test]
async fn headers_and_trailers() {
    let (_, server) = shared().await;
    let mut connection = Connection::open(server.address, 1 << 20).await;
    let mut text = String::new();
    for (name, path, request) in [
        ("a report", "ReportsService/GetDetailedUsage", usage_of(HQ).encode_to_vec()),
        ("a bad request", "ReportsService/GetDetailedUsage", usage_of("").encode_to_vec()),
        ("a list", "ReportsService/ListTenants", Vec::new()),
    ] {
        let Answer { headers, mut body } =
            connection.answer(path, &[("x-request-id", "golden-7")], &Verbatim(request)).await;
        while let Some(data) = body.data().await {
            data.expect("data");
        }
        let trailers = body.trailers().await.expect("trailers").unwrap_or_default();
        for (part, headers) in [("headers", headers), ("trailers", trailers)] {
            let mut lines: Vec<String> = headers
                .iter()
                .filter(|(name, _)| *name != "date")
                .map(|(name, value)| format!("  {name}: {}\n", value.to_str().expect("ASCII")))
                .collect();
            lines.sort();
            text.push_str(&format!("{name}, {part}\n{}", lines.concat()));
        }
    }
    assert_golden("stream/headers.txt", &text);
}
