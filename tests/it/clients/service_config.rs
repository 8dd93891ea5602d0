//! The service config for generated stubs: it names the calls of the contract, and real clients go by it.

use std::process::Command;

use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use secure_connect_reports::contract::proto;
use serde_json::Value;
use tonic::Code;

use super::{
    run,
    scripted::{error, page, serve},
    tool,
};

const CONFIG: &str = include_str!("../../../proto/secureconnect/reports/v1/reports_grpc_service_config.json");

#[test]
fn the_service_config_has_exactly_the_calls_without_side_effects() {
    let config: Value = serde_json::from_str(CONFIG).expect("JSON");
    let mut named: Vec<String> = config["methodConfig"][0]["name"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| format!("{}/{}", name["service"].as_str().unwrap(), name["method"].as_str().unwrap()))
        .collect();
    let contract = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
    let services = contract.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
    let mut calls: Vec<String> = services
        .flat_map(|(file, service)| service.method.iter().map(move |method| (file, service, method)))
        .filter(|(_, _, method)| {
            let options = method.options.clone().unwrap_or_default();
            options.idempotency_level() == IdempotencyLevel::NoSideEffects
        })
        .map(|(file, service, method)| format!("{}.{}/{}", file.package(), service.name(), method.name()))
        .collect();
    named.sort();
    calls.sort();
    assert_eq!(named, calls);
}

/// By bytes, so that no stubs need be generated: the channel does the rest.
const PYTHON: &str = r#"
import sys, grpc
options = [("grpc.service_config", sys.argv[2])]
with grpc.insecure_channel(sys.argv[1], options) as channel:
    call = channel.unary_unary("/secureconnect.reports.v1.ReportsService/GetMonthlyCosts")
    print(len(call(b"")))
"#;
const NODE: &str = r#"
const grpc = require(process.argv[3] + '/@grpc/grpc-js');
const client = new grpc.Client(process.argv[1], grpc.credentials.createInsecure(), { 'grpc.service_config': process.argv[2] });
const same = (bytes) => bytes;
client.makeUnaryRequest('/secureconnect.reports.v1.ReportsService/GetMonthlyCosts', same, same, Buffer.alloc(0), (error, answer) => {
  if (error) { console.error(error.message); process.exit(1); }
  console.log(answer.length);
  client.close();
});
"#;

#[tokio::test]
async fn stubs_retry_by_the_service_config() {
    let fails = |times: usize, code: Code| {
        let mut pages: Vec<_> = (0..times).map(|_| Err(error(code, &[]))).collect();
        pages.push(page(&["1.00"], "1.00", ""));
        serve(Vec::new(), pages)
    };
    let python = async |server: &str, config: &str| {
        let mut command = Command::new(tool("venv/bin/python"));
        command.args(["-c", PYTHON, server, config]);
        run(command).await
    };
    let node = async |server: &str, config: &str| {
        let mut command = Command::new("node");
        command.args(["-e", NODE, server, config]).arg(tool("node/node_modules"));
        run(command).await
    };
    for is_python in [true, false] {
        let call = async |server: &str, config: &str| {
            if is_python { python(server, config).await } else { node(server, config).await }
        };
        let expected = page(&["1.00"], "1.00", "").unwrap().encoded_len().to_string();
        let answer = call(&fails(3, Code::Unavailable).await, CONFIG).await;
        assert_eq!(answer.as_deref().map(str::trim), Ok(expected.as_str()));
        // Without it, and for what another try does not mend, the first answer counts.
        assert!(call(&fails(1, Code::Unavailable).await, "{}").await.is_err());
        assert!(call(&fails(1, Code::NotFound).await, CONFIG).await.is_err());
    }
}
