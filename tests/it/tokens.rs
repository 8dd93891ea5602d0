//! Tokens that callers made up: they hold no secret, so anyone can make one with a good check. They are refused, and never
//! taken for damage of the database.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost_types::Timestamp;
use secure_connect_reports::{
    auth::TenantScope,
    contract::proto::{
        GetDetailedUsageRequest, GetDetailedUsageResponse, GetMonthlyCostsRequest, ListOrganizationsRequest,
        ListPricesRequest, ListTenantsRequest, UsageFilter,
    },
    reports::{UsageReport, UsageRequest},
    store::{RecordRows, Store},
};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{GIB, ORG, Row, TENANT, csv},
    calls::{detailed_usage, list_prices, monthly_costs, reason},
};

/// What a token has between its version and kind, and its check.
fn payload(token: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    bytes[2..bytes.len() - 8].to_vec()
}

/// The same token with another payload, and the check of that.
fn forged(token: &str, payload: &[u8]) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap()[..2].to_vec();
    bytes.extend_from_slice(payload);
    let check = Sha256::digest(&bytes);
    bytes.extend_from_slice(&check[..8]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same payload with other bytes at a place.
fn with(payload: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    [&payload[..at], bytes, &payload[at + bytes.len()..]].concat()
}

async fn read(server: &Server, request: GetDetailedUsageRequest) -> Result<Vec<GetDetailedUsageResponse>, Status> {
    let mut stream = server.stub().await.get_detailed_usage(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

/// Three days, whose records are of two meters in turns: 600, 1500 and 900.
async fn served() -> (Database, Server) {
    let database = Database::with_catalog().await;
    let days = [("2022-02-01", 600), ("2022-02-02", 1500), ("2022-02-03", 900)];
    let rows = days.iter().flat_map(|&(day, count)| {
        (0..count).map(move |n| {
            let row = Row::on(day, "1").asset(&format!("asset-{n:05}"));
            if n % 3 == 0 { row.bandwidth() } else { row }
        })
    });
    database.import(&csv(&rows.collect::<Vec<_>>())).await;
    let server = database.serve();
    (database, server)
}

async fn nobody_was_alarmed(server: &Server) {
    for rpc in ["GetDetailedUsage", "GetMonthlyCosts", "ListTenants", "ListOrganizations", "ListPrices"] {
        let name = format!("secureconnect.reports.v1.ReportsService/{rpc}");
        let failures = format!("scr_call_failures_total{{rpc_method=\"{name}\",reason=\"INTERNAL\"}}");
        assert_eq!(server.metric(&failures).await, 0.0, "{rpc}");
    }
}

fn filters() -> [(&'static str, Option<UsageFilter>); 4] {
    let some = |filter| Some(filter);
    [
        ("none", None),
        ("meter", some(UsageFilter { meter_names: vec![GIB.to_owned()], ..Default::default() })),
        ("type", some(UsageFilter { asset_types: vec![1], meter_names: vec![GIB.to_owned()], ..Default::default() })),
        (
            "assets",
            some(UsageFilter {
                asset_ids: (0..900).step_by(2).map(|n| format!("asset-{n:05}")).collect(),
                ..Default::default()
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_token_that_was_made_up_is_refused_by_name() {
    let (_database, server) = served().await;
    for (name, filter) in filters() {
        let whole = GetDetailedUsageRequest { filter, ..detailed_usage(TENANT) };
        let messages = read(&server, whole.clone()).await.unwrap();
        let count: usize = messages.iter().map(|message| message.records.len()).sum();
        let middle = &messages[messages.len() / 2 - 1].resume_token;
        // Tenant, year, month, snapshot, revision, filter, load, row, records before.
        let (good, [year, month, snapshot, load, row, before]) = (payload(middle), [16, 20, 24, 72, 76, 80]);
        let records_before = u64::from_be_bytes(good[before..].try_into().unwrap());
        let rest =
            read(&server, GetDetailedUsageRequest { resume_token: middle.clone(), ..whole.clone() }).await.unwrap();
        let rest: usize = rest.iter().map(|message| message.records.len()).sum();
        assert_eq!(records_before + rest as u64, count as u64, "{name}: what is not made up is good");

        let number = |number: i64| number.to_be_bytes();
        let forgeries = [
            ("one record more", with(&good, before, &(records_before + 1).to_be_bytes())),
            ("one record less", with(&good, before, &(records_before - 1).to_be_bytes())),
            ("none before", with(&good, before, &0_u64.to_be_bytes())),
            ("all before", with(&good, before, &(count as u64).to_be_bytes())),
            ("more than there are", with(&good, before, &u64::MAX.to_be_bytes())),
            ("row -1", with(&good, row, &(-1_i32).to_be_bytes())),
            ("a row after the last", with(&good, row, &1_000_000_i32.to_be_bytes())),
            ("a load after the last", with(&good, load, &9_u32.to_be_bytes())),
            ("the last load there can be", with(&good, load, &u32::MAX.to_be_bytes())),
            ("year 0", with(&good, year, &0_i32.to_be_bytes())),
            ("month 13", with(&good, month, &13_i32.to_be_bytes())),
            ("another month", with(&good, month, &3_i32.to_be_bytes())),
            ("tomorrow", with(&good, snapshot, &number(chrono_micros() + 86_400_000_000))),
            ("the last moment there is", with(&good, snapshot, &number(253_402_300_799_999_999))),
            ("no moment", with(&good, snapshot, &number(i64::MAX))),
            ("cut short", good[..good.len() - 1].to_vec()),
            ("longer", [good.clone(), vec![0]].concat()),
            ("nothing", Vec::new()),
        ];
        for (forgery, payload) in forgeries {
            let resume_token = forged(middle, &payload);
            let status = read(&server, GetDetailedUsageRequest { resume_token, ..whole.clone() }).await.unwrap_err();
            let told = format!("{name}, {forgery}: {status:?}");
            assert_eq!(status.code(), Code::InvalidArgument, "{told}");
            assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "resume_token", "{told}");
        }
        // A revision of nothing is one that is gone.
        let resume_token = forged(middle, &with(&good, 32, &[7; 32]));
        let status = read(&server, GetDetailedUsageRequest { resume_token, ..whole.clone() }).await.unwrap_err();
        assert_eq!(reason(&status), (Code::FailedPrecondition, "RESUME_TOKEN_EXPIRED".to_owned()));
    }
    nobody_was_alarmed(&server).await;
}

fn chrono_micros() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// Each byte of each kind of token, changed: an answer that is right, or a refusal that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_a_token_makes_an_answer_wrong() {
    let (database, server) = served().await;
    database.import_from("other", &csv(&[Row::on("2022-02-05", "2")])).await;
    let refused = [Code::InvalidArgument, Code::FailedPrecondition];
    let filter = Some(UsageFilter { meter_names: vec![GIB.to_owned()], ..Default::default() });
    let whole = GetDetailedUsageRequest { filter, ..detailed_usage(TENANT) };
    let usage = read(&server, whole.clone()).await.unwrap()[0].resume_token.clone();
    let mut stub = server.stub().await;
    let list = ListTenantsRequest { page_size: 1, ..Default::default() };
    let tenants = stub.list_tenants(list.clone()).await.unwrap().into_inner().next_page_token;
    let bill = GetMonthlyCostsRequest { page_size: 1, ..monthly_costs(ORG) };
    let costs = stub.get_monthly_costs(bill.clone()).await.unwrap().into_inner().next_page_token;
    let one_price = ListPricesRequest { page_size: 1, ..list_prices() };
    let prices = stub.list_prices(one_price.clone()).await.unwrap().into_inner().next_page_token;
    let one = ListOrganizationsRequest { page_size: 1, ..Default::default() };
    let organizations = stub.list_organizations(one.clone()).await.unwrap().into_inner().next_page_token;
    for token in [&usage, &tenants, &costs, &prices, &organizations] {
        let good = payload(token);
        for at in 0..good.len() {
            for flip in [0x01, 0x80] {
                let token = forged(token, &with(&good, at, &[good[at] ^ flip]));
                // Version and kind are in the first characters.
                let answer = if usage[..3] == token[..3] {
                    let request = GetDetailedUsageRequest { resume_token: token, ..whole.clone() };
                    read(&server, request).await.map(|messages| {
                        let header = messages[0].header.as_ref().unwrap();
                        let rest: usize = messages.iter().map(|message| message.records.len()).sum();
                        assert_eq!(header.resumed_record_count + rest as i64, header.record_count, "byte {at}");
                        assert!(messages.last().unwrap().summary.is_some());
                    })
                } else if tenants[..3] == token[..3] {
                    let request = ListTenantsRequest { page_token: token, ..list.clone() };
                    stub.list_tenants(request).await.map(drop)
                } else if organizations[..3] == token[..3] {
                    let request = ListOrganizationsRequest { page_token: token, ..one.clone() };
                    stub.list_organizations(request).await.map(drop)
                } else if prices[..3] == token[..3] {
                    let request = ListPricesRequest { page_token: token, ..one_price.clone() };
                    stub.list_prices(request).await.map(drop)
                } else {
                    let request = GetMonthlyCostsRequest { page_token: token, ..bill.clone() };
                    stub.get_monthly_costs(request).await.map(drop)
                };
                if let Err(status) = answer {
                    assert!(refused.contains(&status.code()), "byte {at}: {status:?}");
                }
            }
        }
    }
    nobody_was_alarmed(&server).await;
}

/// A page token of a moment that is yet to come.
#[tokio::test]
async fn a_page_token_of_the_future_is_refused() {
    let (_database, server) = served().await;
    let mut stub = server.stub().await;
    let bill = GetMonthlyCostsRequest { page_size: 1, ..monthly_costs(ORG) };
    let token = stub.get_monthly_costs(bill.clone()).await.unwrap().into_inner().next_page_token;
    let tomorrow = (chrono_micros() + 86_400_000_000).to_be_bytes();
    let page_token = forged(&token, &with(&payload(&token), 8, &tomorrow));
    let status = stub.get_monthly_costs(GetMonthlyCostsRequest { page_token, ..bill.clone() }).await.unwrap_err();
    assert_eq!(status.message(), "page_token: a token of a moment in the future");
    let as_of = Some(Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let status = stub.get_monthly_costs(GetMonthlyCostsRequest { as_of, ..bill }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// Assets are kept for all streams: one that is given up must not make the others read them anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_export_empties_no_cache() {
    let (database, _server) = served().await;
    let store = Store::new(&database.config()).unwrap();
    let request = UsageRequest {
        tenant_id: TENANT.parse().unwrap(),
        month: "2022-02".parse().unwrap(),
        filter: secure_connect_reports::model::UsageFilter::default(),
        as_of: None,
        statement: None,
        resume_token: String::new(),
    };
    let open = async || UsageReport::open(store.clone(), &TenantScope::operator(), &request).await.unwrap();
    let whole = async || {
        let mut report = open().await;
        while report.next::<RecordRows>().await.unwrap().is_some() {}
        report.epoch()
    };
    let connections = async || {
        let sql = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'secure-connect-reports'";
        database.sql().await.query_one(sql, &[]).await.unwrap().get::<_, Vec<i32>>(0)
    };
    let epoch = whole().await;
    assert_ne!(epoch, 0);
    let before = connections().await;
    let blocker = database.sql().await;
    blocker.batch_execute("BEGIN; LOCK TABLE usage_block IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut report = open().await;
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(200), report.next::<RecordRows>()).await;
    assert!(given_up.is_err(), "it waits for the table");
    drop(report);
    // Its connections are closed.
    while connections().await.iter().filter(|pid| before.contains(pid)).count() == before.len() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    blocker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(whole().await, epoch, "it is the same database");

    // Tables that were made anew may have other assets by the same keys.
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'secure-connect-reports'";
    blocker.batch_execute("VACUUM FULL asset").await.unwrap();
    blocker.batch_execute(terminate).await.unwrap();
    let other = loop {
        // The first calls may find that their connections are gone.
        if let Ok(mut report) = UsageReport::open(store.clone(), &TenantScope::operator(), &request).await
            && let Ok(Some(_)) = report.next::<RecordRows>().await
        {
            break report.epoch();
        }
    };
    assert_ne!(other, epoch);
}
