//! Requests that are wrong.

use secure_connect_reports::contract::proto::{BreakdownFilter, GetCostBreakdownRequest, YearMonth};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::refused;
use crate::support::{
    Database,
    builder::{GIB, ORG},
    calls::{cost_breakdown, reason},
};

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let base = || cost_breakdown(ORG, &[1]);
    let month = |year, month| Some(YearMonth { year, month });
    let filter = |filter: BreakdownFilter, groups: &[i32]| GetCostBreakdownRequest {
        filter: Some(filter),
        ..cost_breakdown(ORG, groups)
    };
    let types = || BreakdownFilter { asset_types: vec![1], ..Default::default() };
    let ids = || BreakdownFilter { asset_ids: vec!["a".to_owned()], ..Default::default() };
    let meters =
        |name: &str| BreakdownFilter { meter_names: vec![GIB.to_owned(), name.to_owned()], ..Default::default() };
    let regions = BreakdownFilter { billing_regions: vec![3, 9], ..Default::default() };
    for (wrong, field, said) in [
        (GetCostBreakdownRequest { organization_id: String::new(), ..base() }, "organization_id", "is required"),
        (GetCostBreakdownRequest { organization_id: "x".to_owned(), ..base() }, "organization_id", "not a GUID"),
        (GetCostBreakdownRequest { tenant_id: "x".to_owned(), ..base() }, "tenant_id", "not a GUID"),
        (GetCostBreakdownRequest { start_month: None, ..base() }, "start_month", "is required"),
        (GetCostBreakdownRequest { end_month: month(2022, 1), ..base() }, "end_month", "before the first"),
        (GetCostBreakdownRequest { end_month: month(2023, 8), ..base() }, "end_month", "the maximum is 18"),
        (cost_breakdown(ORG, &[0]), "group_by[0]", "there is no value 0"),
        (cost_breakdown(ORG, &[1, 5]), "group_by[1]", "there is no value 5"),
        (cost_breakdown(ORG, &[1; 17]), "group_by", "more than 16 entries"),
        (filter(types(), &[]), "filter.asset_types", "add COST_GROUP_ASSET or COST_GROUP_ASSET_TYPE to group_by"),
        (filter(types(), &[2, 4]), "filter.asset_types", "add COST_GROUP_ASSET or COST_GROUP_ASSET_TYPE to group_by"),
        (filter(ids(), &[3]), "filter.asset_ids", "add COST_GROUP_ASSET to group_by"),
        (filter(meters("nothing"), &[1]), "filter.meter_names[1]", "there is no meter \"nothing\""),
        (filter(meters(""), &[1]), "filter.meter_names[1]", "must not be empty"),
        (filter(regions, &[1]), "filter.billing_regions[1]", "there is no value 9"),
        (
            GetCostBreakdownRequest {
                as_of: Some(prost_types::Timestamp { seconds: 100_000_000_000, nanos: 0 }),
                ..base()
            },
            "as_of",
            "is in the future",
        ),
    ] {
        let status = refused(&server, wrong).await;
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()), "{field}");
        let violation = status.get_details_bad_request().unwrap().field_violations.remove(0);
        assert_eq!(violation.field, field);
        assert!(violation.description.contains(said), "{violation:?}");
    }
}
