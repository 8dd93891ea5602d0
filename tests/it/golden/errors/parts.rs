//! Errors of the calls that take bills apart: `GetCostBreakdown` and `CompareCosts`.

use secure_connect_reports::contract::proto::{
    BreakdownFilter, CompareCostsRequest, CostSide, DraftPrice, DraftTier, GetCostBreakdownRequest, PriceListDraft,
};

use super::{NOBODY, moment, shown, year_month};
use crate::golden::{
    assert_golden,
    fixture::{ACME, TOKYO, breakdown_of, comparison_of, reports, shared},
};

#[tokio::test]
async fn errors_of_get_cost_breakdown() {
    let (_, server) = shared().await;
    let stub = &mut reports(server).await;
    let of = |filter: BreakdownFilter, groups: &[i32]| GetCostBreakdownRequest {
        filter: Some(filter),
        ..breakdown_of(ACME, groups)
    };
    let ids = |ids: Vec<String>| BreakdownFilter { asset_ids: ids, ..Default::default() };
    let types = |asset_types: Vec<i32>| BreakdownFilter { asset_types, ..Default::default() };
    let meters = |name: &str| BreakdownFilter { meter_names: vec![name.to_owned()], ..Default::default() };
    let to = |end_month| GetCostBreakdownRequest { end_month, ..breakdown_of(ACME, &[1]) };
    let tenant = |organization: &str, tenant: &str| GetCostBreakdownRequest {
        tenant_id: tenant.to_owned(),
        ..breakdown_of(organization, &[1])
    };
    let mut text = String::new();
    for (name, request) in [
        ("neither organization nor tenant", breakdown_of("", &[1])),
        ("bad organization", breakdown_of("Acme", &[1])),
        ("unknown organization", breakdown_of(NOBODY, &[1])),
        ("unknown tenant", tenant("", NOBODY)),
        ("tenant of another organization", tenant(ACME, TOKYO)),
        ("no month", GetCostBreakdownRequest { start_month: None, ..breakdown_of(ACME, &[1]) }),
        ("months backwards", to(year_month(2022, 1))),
        ("too many months", to(year_month(2023, 8))),
        ("unspecified group", breakdown_of(ACME, &[0])),
        ("unknown group", breakdown_of(ACME, &[1, 9])),
        ("too many groups", breakdown_of(ACME, &[1; 17])),
        ("asset types without their group", of(types(vec![1]), &[2])),
        ("asset ids without their group", of(ids(vec!["a".to_owned()]), &[3])),
        ("unknown asset type", of(types(vec![9]), &[1])),
        ("empty asset id", of(ids(vec![String::new()]), &[1])),
        ("too many asset ids", of(ids(vec!["a".to_owned(); 1001]), &[1])),
        ("unknown meter", of(meters("nothing"), &[])),
        ("in the future", GetCostBreakdownRequest { as_of: moment(253_402_300_799, 0), ..breakdown_of(ACME, &[1]) }),
    ] {
        let status = match stub.get_cost_breakdown(request).await {
            Err(status) => status,
            Ok(answer) => answer.into_inner().message().await.expect_err(name),
        };
        text.push_str(&shown(name, &status));
    }
    assert_golden("errors/get-cost-breakdown.txt", &text);
}

#[tokio::test]
async fn errors_of_compare_costs() {
    let (_, server) = shared().await;
    let stub = &mut reports(server).await;
    let of = |change: &dyn Fn(&mut CompareCostsRequest)| {
        let mut request = comparison_of(ACME);
        change(&mut request);
        request
    };
    let base = |change: &dyn Fn(&mut CostSide)| of(&|request| change(request.base.as_mut().unwrap()));
    let tier = || DraftTier { up_to: String::new(), unit_price: "1".to_owned() };
    let price = DraftPrice {
        meter: "user_hours_essentials".to_owned(),
        currency: "USD".to_owned(),
        effective_from: year_month(2022, 1),
        tiers: vec![tier()],
        ..Default::default()
    };
    let draft = |prices: Vec<DraftPrice>| {
        of(&|request| {
            let prices = prices.clone();
            request.target.as_mut().unwrap().draft = Some(PriceListDraft { prices, meters: Vec::new() });
        })
    };
    let mut text = String::new();
    for (name, request) in [
        ("bad organization", comparison_of("Acme")),
        ("unknown organization", comparison_of(NOBODY)),
        ("unknown tenant", of(&|request| request.tenant_id = NOBODY.to_owned())),
        ("tenant of another organization", of(&|request| request.tenant_id = TOKYO.to_owned())),
        ("no base", of(&|request| request.base = None)),
        ("no month", base(&|side| side.month = None)),
        ("month 13", base(&|side| side.month = year_month(2022, 13))),
        ("in the future", base(&|side| side.as_of = moment(253_402_300_799, 0))),
        ("unknown basis", base(&|side| side.basis = 9)),
        ("negative number of assets", of(&|request| request.top_assets = Some(-1))),
        ("unknown meter", draft(vec![DraftPrice { meter: "nothing".to_owned(), ..price.clone() }])),
        ("price without tiers", draft(vec![DraftPrice { tiers: Vec::new(), ..price.clone() }])),
        ("price without a currency", draft(vec![DraftPrice { currency: String::new(), ..price.clone() }])),
        ("two last tiers", draft(vec![DraftPrice { tiers: vec![tier(), tier()], ..price.clone() }])),
        ("the same price twice", draft(vec![price.clone(), price.clone()])),
        ("too many prices", draft(vec![DraftPrice::default(); 5001])),
        ("too many tiers", draft(vec![DraftPrice { tiers: vec![tier(); 20_001], ..price }])),
        (
            "two drafts",
            of(&|request| {
                request.base.as_mut().unwrap().draft = Some(PriceListDraft::default());
                request.target.as_mut().unwrap().draft = Some(PriceListDraft::default());
            }),
        ),
    ] {
        text.push_str(&shown(name, &stub.compare_costs(request).await.expect_err(name)));
    }
    assert_golden("errors/compare-costs.txt", &text);
}
