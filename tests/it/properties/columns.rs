//! Columns say what the CSV says, value by value, and add up to the bill.

use bigdecimal::BigDecimal;
use proptest::prelude::*;
use secure_connect_reports::{
    client::{CostsQuery, UsageQuery},
    model::{AssetType, BillingRegion, MonthRange, UsageFilter, plain},
};
use tonic::Code;

use super::{
    check,
    random::{case, draft, rows},
};
use crate::support::{
    calls::flight_path,
    columns::{csv_rows, usage_command},
    csv_rows as csv_file,
};

fn filter() -> impl Strategy<Value = UsageFilter> {
    let some = |all: &'static [&'static str]| prop::option::of(prop::sample::subsequence(all, 1..=all.len()));
    (
        some(&["USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"]),
        some(&["joe@email.com", "a", "A", "é"]),
        some(&["AF", "AP", "EU", "NA"]),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(types, ids, regions, trial)| UsageFilter {
            asset_types: types.unwrap_or_default().iter().map(|name| name.parse::<AssetType>().unwrap()).collect(),
            asset_ids: ids.unwrap_or_default().iter().map(|&id| id.to_owned()).collect(),
            billing_regions: regions
                .unwrap_or_default()
                .iter()
                .map(|name| name.parse::<BillingRegion>().unwrap())
                .collect(),
            trial,
            ..Default::default()
        })
}

#[test]
fn columns_of_usage_are_the_csv() {
    let strategy = (case(), prop::collection::vec(draft(), 1..60), filter());
    check(strategy, async |database, server, number, (case, drafts, filter)| {
        let case = super::Case { number, meters: number, ..case };
        database.apply(&case.catalog()).await;
        database.import(&csv_file(&rows(&drafts, &case))).await;
        for tenant in 0..2 {
            for filter in [UsageFilter::default(), filter.clone()] {
                let mut query = UsageQuery::new(case.tenant(tenant).parse().unwrap(), case.month().parse().unwrap());
                query.filter = filter;
                let expected = csv_rows(&server.csv(&query).await.0);
                let request = query.to_request();
                let slices = server.columns(usage_command(&request)).await;
                let [slice] = slices.as_slice() else { panic!("{} slices", slices.len()) };
                prop_assert_eq!(&slice.rows(), &expected);
                prop_assert_eq!(slice.metadata()["recordCount"].parse::<usize>().unwrap(), expected.len());
                prop_assert_eq!(slice.summary["recordCount"].as_str(), Some(&*expected.len().to_string()));
                let totals = slice.summary["totals"].as_array().unwrap();
                let sum: BigDecimal =
                    totals.iter().map(|total| total["quantity"].as_str().unwrap().parse::<BigDecimal>().unwrap()).sum();
                let added_up: BigDecimal = expected.iter().map(|row| row[9].parse::<BigDecimal>().unwrap()).sum();
                prop_assert_eq!(plain(&sum), plain(&added_up));
            }
        }
        Ok(())
    });
}

#[test]
fn columns_of_costs_are_the_bill() {
    check((case(), prop::collection::vec(draft(), 1..60)), async |database, server, number, (case, drafts)| {
        let case = super::Case { number, meters: number, ..case };
        database.apply(&case.catalog()).await;
        database.import(&csv_file(&rows(&drafts, &case))).await;
        let month = case.month().parse().unwrap();
        let months = MonthRange::new(month, month).unwrap();
        let organization_id = case.organization().parse().unwrap();
        let query = CostsQuery { organization_id, tenant_id: None, months, as_of: None, current: false };
        let costs = server.client().await.monthly_costs(&query).await.unwrap();
        let digits = |text: &str| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            (whole.len(), fraction.len())
        };
        let quantities = costs.lines.iter().flat_map(|line| [&line.quantity, &line.trial_quantity]);
        let (whole, scale) = quantities.map(|text| digits(text)).fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let path = flight_path("monthly_costs", &case.organization(), &case.month());
        if whole + scale > 76 {
            let refused = server.flight_info(path).await.unwrap_err();
            prop_assert_eq!(refused.code(), Code::InvalidArgument);
            return Ok(());
        }
        let found = &server.columns(path).await[0];
        let expected: Vec<Vec<String>> = costs
            .lines
            .iter()
            .map(|line| {
                let cost = if line.cost.is_empty() { String::new() } else { plain(&line.cost.parse().unwrap()) };
                vec![
                    case.month(),
                    line.organization_id.clone(),
                    line.tenant_id.clone(),
                    line.tenant_name.clone(),
                    line.plan.clone(),
                    line.meter_name.clone(),
                    line.meter_id.clone(),
                    line.unit.clone(),
                    BillingRegion::from_code(line.billing_region).unwrap().to_string(),
                    line.quantity.clone(),
                    line.trial_quantity.clone(),
                    cost.clone(),
                    line.currency.clone(),
                    line.record_count.to_string(),
                    case.month(),
                    cost,
                ]
            })
            .collect();
        prop_assert_eq!(found.rows(), expected);
        let total = &found.summary["totals"][0];
        prop_assert_eq!(total["amountDue"].as_str(), Some(&*costs.totals[0].amount_due));
        Ok(())
    });
}
