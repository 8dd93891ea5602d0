//! Texts that a terminal would obey.

use std::process::Command;

use secure_connect_reports::{
    contract::proto::{
        GetCostBreakdownResponse, GetDetailedUsageResponse, GetMonthlyCostsResponse, ListTenantsResponse, Tenant,
    },
    model::is_deceptive,
};
use tonic::Status;

use super::{
    breakdown,
    lists::bill,
    reports::sound,
    server::{Messages, Script, run, serve},
};
use crate::support::{
    builder::{ORG, TENANT, TENANT_2},
    program,
    terminal::on_terminal,
};

/// Clears the screen, sets a title, changes colours by C1, turns the text round, and breaks lines.
const EVIL: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\u{2066}c\u{2028}d\ne\rf\u{200f}";

fn tenants() -> ListTenantsResponse {
    let tenant = |tenant_id: &str| Tenant {
        tenant_id: tenant_id.to_owned(),
        name: EVIL.to_owned(),
        organization_id: ORG.to_owned(),
        organization_name: EVIL.to_owned(),
        plan: EVIL.to_owned(),
        status: 3,
        ..Default::default()
    };
    ListTenantsResponse { tenants: vec![tenant(TENANT), tenant(TENANT_2)], total_size: 2, ..Default::default() }
}

fn costs() -> GetMonthlyCostsResponse {
    let mut bill = bill();
    for line in &mut bill.lines {
        line.tenant_name = EVIL.to_owned();
        line.plan = EVIL.to_owned();
        line.meter_name.push_str(EVIL);
        line.unit = EVIL.to_owned();
        line.currency = EVIL.to_owned();
    }
    bill.totals.iter_mut().for_each(|total| total.currency = EVIL.to_owned());
    bill.unpriced_meters[0].meter_name.push_str(EVIL);
    bill.unpriced_meters[0].currency = EVIL.to_owned();
    bill
}

/// The first row is without a price, so that there is a warning of it.
fn parts() -> Vec<GetCostBreakdownResponse> {
    let mut parts = breakdown::sound();
    parts[0].header.as_mut().unwrap().currency = EVIL.to_owned();
    for row in parts.iter_mut().flat_map(|message| &mut message.rows) {
        row.tenant_name = EVIL.to_owned();
        row.plan = EVIL.to_owned();
        row.meter_name.push_str(EVIL);
        row.unit = EVIL.to_owned();
        row.asset_name = EVIL.to_owned();
        row.asset_id = EVIL.to_owned();
        row.currency = EVIL.to_owned();
        if row.month.unwrap().month == 2 {
            row.cost.clear();
        }
    }
    for total in &mut parts[3].summary.as_mut().unwrap().totals {
        total.currency = EVIL.to_owned();
        if total.month.unwrap().month == 2 {
            total.cost = "0.00".to_owned();
        }
    }
    parts
}

fn report() -> Vec<GetDetailedUsageResponse> {
    let mut report = sound();
    report[0].header.as_mut().unwrap().tenant_name = EVIL.to_owned();
    report[0].records[0].asset_name = EVIL.to_owned();
    report
}

fn script() -> Script {
    Script {
        tenants: Box::new(|_| Some(Ok(tenants()))),
        costs: Box::new(|_| Some(Ok(costs()))),
        usage: Box::new(|_| Some(Ok(Box::pin(tokio_stream::iter(report().into_iter().map(Ok))) as Messages))),
        breakdown: breakdown::script(parts()).breakdown,
        ..Script::default()
    }
}

const COSTS: [&str; 7] = ["costs", "--organization", ORG, "--month", "2022-02", "--to", "2022-03"];
const PARTS: [&str; 9] = ["costs", "--organization", ORG, "--month", "2022-02", "--to", "2022-03", "--by", "asset,day"];
const USAGE: [&str; 7] = ["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "-"];

fn client(server: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).args(["--server", server, "--retry-for", "0"]);
    command
}

/// Line ends alone are left.
fn assert_harmless(text: &str, what: &str) {
    let found: Vec<char> = text.chars().filter(|character| is_deceptive(*character) && *character != '\n').collect();
    assert!(found.is_empty(), "{what}: {found:?} in {text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_notes_and_errors_are_harmless() {
    let server = serve(script()).await;
    for (arguments, code) in [
        (&["tenants"][..], 0),
        (&["tenants", "--format", "json"], 0),
        (&COSTS, 0),
        (&[&COSTS[..], &["--format", "json"]].concat(), 0),
        (&PARTS, 0),
        (&[&PARTS[..], &["--format", "json"]].concat(), 0),
        // Two tenants have the name.
        (&["usage", "--tenant", EVIL, "--month", "2022-02", "-o", "-"], 1),
    ] {
        let ended = run(client(&server, arguments)).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let text = ended.text();
        assert_harmless(text, "standard output");
        assert_harmless(&ended.log, "standard error");
        assert!(!text.contains("\ne") && !ended.log.contains("\ne\u{fffd}"), "a row is a line: {ended:?}");
        if arguments.contains(&"json") {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            let name = match arguments[0] {
                "tenants" => &json[0]["name"],
                _ if arguments.contains(&"--by") => &json["rows"][0]["assetName"],
                _ => &json["lines"][0]["tenantName"],
            };
            assert_eq!(name, EVIL, "escapes stand for it");
        }
    }
    let failing = Script {
        tenants: Box::new(|_| Some(Err(Status::invalid_argument(EVIL)))),
        costs: Box::new(|_| Some(Err(Status::unavailable(EVIL)))),
        usage: Box::new(|_| Some(Err(Status::not_found(EVIL)))),
        breakdown: Box::new(|_| Some(Err(Status::aborted(EVIL)))),
        ..Script::default()
    };
    let server = serve(failing).await;
    for arguments in [&["tenants"][..], &COSTS, &PARTS, &USAGE] {
        let ended = run(client(&server, arguments)).await;
        ended.assert_error("a\u{fffd}[2J", arguments[0]);
        assert_harmless(&ended.log, arguments[0]);
        assert_eq!(ended.log.lines().count(), 1, "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_is_harmless_on_a_terminal_and_exact_elsewhere() {
    let server = serve(script()).await;
    let to = |output: &'static str| [&USAGE[..6], &[output]].concat();
    for arguments in [
        &USAGE[..],
        // The terminal by other names.
        &to("/dev/stdout"),
        &to("/dev/stderr"),
        &to("/dev/fd/2"),
        &["tenants", "--format", "csv"],
        &[&COSTS[..], &["--format", "csv"]].concat(),
        &[&PARTS[..], &["--format", "csv"]].concat(),
        &PARTS,
        &["tenants"],
        &["tenants", "--format", "json"],
    ] {
        let shown = on_terminal(client(&server, arguments)).await;
        assert_harmless(&shown, &format!("{arguments:?}"));
        assert!(!shown.is_empty());
        if arguments.contains(&"csv") || arguments == USAGE {
            let exact = run(client(&server, arguments)).await;
            assert!(exact.text().contains(&format!("\"{EVIL}\"")), "{exact:?}");
        }
    }
}
