//! The messages of `GetCostBreakdown`.

use prost::Message as _;
use secure_connect_reports::contract::proto::{BreakdownFilter, GetCostBreakdownRequest, GetCostBreakdownResponse};

use super::{
    assert_golden,
    fixture::{ACME, KUWAIT, TOKYO_ORG, breakdown_of, month, reports, shared},
    mask,
};

const ASSET: i32 = 1;
const USAGE_DAY: i32 = 2;
const ASSET_TYPE: i32 = 3;
const PLATFORM: i32 = 4;

fn shown(message: GetCostBreakdownResponse) -> String {
    let GetCostBreakdownResponse { header, rows, reports, summary } = message;
    let mut text = String::new();
    if let Some(header) = header {
        text.push_str(&format!("{header:?}\n"));
    }
    for mut report in reports {
        report.data_as_of = mask::moment(report.data_as_of);
        text.push_str(&format!("{report:?}\n"));
    }
    for row in rows {
        text.push_str(&format!("{row:?}\n"));
    }
    if let Some(summary) = summary {
        text.push_str(&format!("{summary:?}\n"));
    }
    text
}

#[tokio::test]
async fn breakdowns() {
    let (_, server) = shared().await;
    let mut stub = reports(server).await;
    let filter = BreakdownFilter { asset_types: vec![1], billing_regions: vec![3], ..Default::default() };
    for (name, request) in [
        ("dollars-by-asset", breakdown_of(ACME, &[ASSET])),
        ("dollars-by-everything", breakdown_of(ACME, &[PLATFORM, ASSET_TYPE, USAGE_DAY, ASSET])),
        (
            "dollars-by-type-in-january-to-april",
            GetCostBreakdownRequest {
                start_month: month(1),
                end_month: month(4),
                ..breakdown_of(ACME, &[ASSET_TYPE, PLATFORM])
            },
        ),
        (
            "dollars-of-some-users",
            GetCostBreakdownRequest { filter: Some(filter), ..breakdown_of(ACME, &[ASSET, USAGE_DAY]) },
        ),
        ("yen-by-day", breakdown_of(TOKYO_ORG, &[USAGE_DAY])),
        (
            "dinars-of-a-tenant-by-line",
            GetCostBreakdownRequest { tenant_id: KUWAIT.to_owned(), ..breakdown_of("", &[]) },
        ),
    ] {
        let mut stream = stub.get_cost_breakdown(request).await.unwrap().into_inner();
        // How it is cut into messages depends on the time that its parts take.
        let mut all = GetCostBreakdownResponse::default();
        while let Some(message) = stream.message().await.unwrap() {
            all.merge(message.encode_to_vec().as_slice()).unwrap();
        }
        assert_golden(&format!("breakdown/{name}.txt"), &shown(all));
    }
}
