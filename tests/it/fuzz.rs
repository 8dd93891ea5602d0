//! Input that was damaged by chance: it is taken or refused with a reason, and nothing stumbles over it.

use prost::Message as _;
use secure_connect_reports::{
    auth::TenantScope,
    catalog::{self, CatalogFormat},
    contract::proto::{
        BreakdownFilter, GetCostBreakdownRequest, GetDetailedUsageRequest, GetMonthlyCostsRequest, ImportUsageRequest,
        ListOrganizationsRequest, ListPricesRequest, ListTenantsRequest, UsageFilter, UsageRecord,
        WithdrawUsageRequest, YearMonth,
    },
    ingest::{Delivery, Import, ImportError, Input},
    model::Source,
    store::Store,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    compare,
    support::{
        Database,
        builder::{CATALOG, GIB, HOURS, HOURS_ID, ORG, Row, TENANT, TENANT_2, csv},
        calls::detailed_usage,
        raw::{Connection, Verbatim},
        rng, rounds,
    },
};

/// Pieces that parsers have been known to trip over.
const PIECES: [&[u8]; 16] = [
    b"\"",
    b"\"\"",
    b",",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"-",
    b"1e9",
    b"NaN",
    b"9999999999999999999999",
    "\u{1f}".as_bytes(),
    "\u{202e}İ".as_bytes(),
    b"0000-00-00T24:60:61Z",
    b"'",
];

/// A few changes at random places.
fn damaged(content: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut content = content.to_vec();
    for _ in 0..rng.u32(1..5) {
        let at = rng.usize(0..=content.len());
        let rest = content.len() - at;
        match rng.u32(0..6) {
            0 if rest > 0 => content[at] ^= 1 << rng.u32(0..8),
            1 if rest > 0 => content[at] = rng.u8(..),
            2 => content.truncate(at),
            3 => drop(content.drain(at..at + rng.usize(0..=rest.min(40)))),
            4 => {
                let copy = content[at..at + rng.usize(0..=rest.min(40))].to_vec();
                let to = rng.usize(0..=content.len());
                content.splice(to..to, copy);
            }
            _ => drop(content.splice(at..at, PIECES[rng.usize(0..PIECES.len())].iter().copied())),
        }
    }
    content
}

fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::on("2022-02-01", "1.50").asset("a\"b,c"),
        Row::on("2022-02-28", "0").bandwidth().with("platform", "azure"),
        Row::on("2022-03-31", "12345678901234567890.0123456789").with("assetName", "=1+1\nzwei"),
        Row::on("2022-02-02", "3").with("trial", "TRUE").with("trialExpiry", "2022-03-01T00:00:00.123456Z"),
    ];
    rows.push(rows[0].clone().of(ORG, TENANT_2));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_taken_or_refused_with_a_reason() {
    let database = Database::with_catalog().await;
    let store = Store::new(&database.config()).unwrap();
    let import = Import::new(&store, &TenantScope::operator(), "test", Source::default()).await.unwrap();
    let plain = csv(&rows()).into_bytes();
    let zst = zstd::encode_all(&plain[..], 3).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gz, &plain).unwrap();
    let gz = gz.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rng();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..rounds(10) * 60 {
        let (content, suffix) = match round % 6 {
            4 => (&gz, "csv.gz"),
            5 => (&zst, "csv.zst"),
            _ => (&plain, "csv"),
        };
        let path = folder.path().join(format!("usage.{suffix}"));
        let content = damaged(content, &mut rng);
        std::fs::write(&path, &content).unwrap();
        match import.read(vec![Input::File(path)]).await {
            Ok(prepared) => {
                taken += 1;
                // What was taken can be published, and is then reported: seldom, since it takes its time.
                if round % 40 == 0 {
                    let outcome =
                        import.publish(prepared, &Delivery { name: "fuzz", is_complete: false, dry_run: true }).await;
                    outcome.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&content)));
                }
            }
            Err(ImportError::Invalid(error)) => {
                refused += 1;
                assert!(error.total > 0 && !error.first.is_empty());
                assert!(error.first.iter().all(|problem| !problem.reason.is_empty()), "{error}");
            }
            Err(error @ (ImportError::Io { .. } | ImportError::UnsupportedFormat { .. })) => {
                refused += 1;
                assert!(error.to_string().len() > 20, "{error}");
            }
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&content)),
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

#[test]
fn damaged_catalogs_are_read_or_refused_with_a_reason() {
    let json = {
        let value: toml::Value = toml::from_str(CATALOG).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    };
    let mut rng = rng();
    let mut refused = 0;
    for round in 0..rounds(10) * 100 {
        let (content, format) =
            if round % 2 == 0 { (CATALOG, CatalogFormat::Toml) } else { (json.as_str(), CatalogFormat::Json) };
        let content = String::from_utf8_lossy(&damaged(content.as_bytes(), &mut rng)).into_owned();
        if let Err(error) = catalog::read(&content, format) {
            refused += 1;
            assert!(!error.to_string().is_empty());
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Either it is answered, or it is refused with a reason.
fn is_sound(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    match status.code() {
        Code::Ok => true,
        // The last two: a flag that says the message is compressed, and a length beyond the limit.
        Code::InvalidArgument
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::ResourceExhausted => !reason.is_empty(),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_are_answered_or_refused_with_a_reason() {
    let database = Database::with_catalog().await;
    database.import(&csv(&rows())).await;
    let server = database.serve();
    let filter = UsageFilter {
        asset_types: vec![1, 2],
        asset_ids: vec!["a".to_owned()],
        meter_names: vec![HOURS.to_owned(), GIB.to_owned()],
        billing_regions: vec![3],
        trial: Some(false),
    };
    let time = prost_types::Timestamp { seconds: 1_645_000_000, nanos: 5 };
    let month = Some(YearMonth { year: 2022, month: 2 });
    let usage = GetDetailedUsageRequest { filter: Some(filter), as_of: Some(time), ..detailed_usage(TENANT) };
    let costs = GetMonthlyCostsRequest {
        organization_id: ORG.to_owned(),
        tenant_id: TENANT.to_owned(),
        start_month: month,
        end_month: month,
        as_of: Some(time),
        page_size: 3,
        ..Default::default()
    };
    let breakdown = GetCostBreakdownRequest {
        organization_id: ORG.to_owned(),
        tenant_id: TENANT.to_owned(),
        start_month: month,
        end_month: month,
        group_by: vec![1, 2, 3, 4],
        filter: Some(BreakdownFilter {
            asset_types: vec![1, 2],
            asset_ids: vec!["a".to_owned()],
            meter_names: vec![HOURS.to_owned(), GIB.to_owned()],
            billing_regions: vec![3],
        }),
        basis: 2,
        as_of: Some(time),
    };
    let tenants = ListTenantsRequest {
        search: "acme".to_owned(),
        organization_id: ORG.to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let organizations = ListOrganizationsRequest { page_size: 1, ..Default::default() };
    let prices = ListPricesRequest {
        month,
        currency: "USD".to_owned(),
        meter_name: GIB.to_owned(),
        as_of: Some(time),
        page_size: 1,
        ..Default::default()
    };
    let hours = compare::price(HOURS, "2022-01", &[("50", "0.01"), ("", "0.005")]);
    let side = compare::with_draft(compare::side("2022-02"), compare::draft(vec![hours], &[(GIB, false)]));
    let compared = compare::request(compare::side("2022-01"), side);
    let record = UsageRecord {
        organization_id: ORG.to_owned(),
        tenant_id: TENANT.to_owned(),
        asset_name: "Joe".to_owned(),
        asset_id: "joe".to_owned(),
        asset_type: 1,
        meter_name: HOURS.to_owned(),
        meter_id: HOURS_ID.to_owned(),
        start: Some(time),
        end: Some(prost_types::Timestamp { seconds: time.seconds + 3600, nanos: 5 }),
        quantity: "1.5".to_owned(),
        billing_region: 3,
        ..Default::default()
    };
    let import = ImportUsageRequest { source: "fuzz".to_owned(), records: vec![record; 2], complete: false };
    let withdraw = WithdrawUsageRequest {
        tenant_id: TENANT.to_owned(),
        usage_day: "2022-02-01".to_owned(),
        source: "default".to_owned(),
    };
    let requests = [
        ("ReportsService/GetDetailedUsage", usage.encode_to_vec()),
        ("ReportsService/GetMonthlyCosts", costs.encode_to_vec()),
        ("ReportsService/CompareCosts", compared.encode_to_vec()),
        ("ReportsService/GetCostBreakdown", breakdown.encode_to_vec()),
        ("ReportsService/ListTenants", tenants.encode_to_vec()),
        ("ReportsService/ListOrganizations", organizations.encode_to_vec()),
        ("ReportsService/ListPrices", prices.encode_to_vec()),
        ("UsageImportService/ImportUsage", import.encode_to_vec()),
        ("UsageImportService/WithdrawUsage", withdraw.encode_to_vec()),
    ];
    let mut rng = rng();
    let mut connection = Connection::open(server.address, 1 << 20).await;
    let mut codes = std::collections::HashSet::new();
    for _ in 0..rounds(10) * 40 {
        for (path, request) in &requests {
            let request = Verbatim(damaged(request, &mut rng));
            let (_, status) = connection.answer(path, &[], &request).await.read::<()>().await;
            assert!(is_sound(&status), "{path}: {status:?} for {:?}", request.0);
            codes.insert(status.code());
        }
    }
    assert!(codes.contains(&Code::Ok) && codes.contains(&Code::InvalidArgument), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_tokens_are_refused() {
    let database = Database::with_catalog().await;
    database.import(&csv(&rows())).await;
    let server = database.serve();
    let mut stub = server.stub().await;
    let mut stream = stub.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let resume = stream.message().await.unwrap().unwrap().resume_token;
    let list = ListTenantsRequest { page_size: 1, ..Default::default() };
    let page = stub.list_tenants(list.clone()).await.unwrap().into_inner().next_page_token;
    assert!(!resume.is_empty() && !page.is_empty());
    let mut rng = rng();
    for _ in 0..rounds(10) * 20 {
        for token in [&resume, &page] {
            let other = String::from_utf8_lossy(&damaged(token.as_bytes(), &mut rng)).into_owned();
            // None at all is a start, and padding that is left out, or not, changes nothing.
            if other.is_empty() || other == *token || other.trim_end_matches('=') == token.trim_end_matches('=') {
                continue;
            }
            let usage = GetDetailedUsageRequest { resume_token: other.clone(), ..detailed_usage(TENANT) };
            let status = stub.get_detailed_usage(usage).await.expect_err(&other);
            assert_eq!(status.code(), Code::InvalidArgument, "{other}: {status}");
            let list = ListTenantsRequest { page_token: other.clone(), ..list.clone() };
            let status = stub.list_tenants(list).await.expect_err(&other);
            assert_eq!(status.code(), Code::InvalidArgument, "{other}: {status}");
        }
    }
}
