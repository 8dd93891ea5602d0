//! Charges by FOCUS say what the bill says, line by line, and what its breakdown says, asset by asset.

use std::collections::{BTreeMap, HashMap};

use bigdecimal::{BigDecimal, Zero as _};
use proptest::prelude::*;
use secure_connect_reports::{
    client::{BreakdownQuery, CostsQuery},
    contract::proto::{CostLine, FocusVersion, GetFocusCostsRequest},
    model::{AssetType, BillSubject, BillingRegion, BreakdownFilter, CostGroup, Month, MonthRange, plain},
};
use tonic::Code;

use super::{
    check,
    random::{case, draft, rows},
};
use crate::support::{Server, columns::command, csv_rows as csv_file};

/// A row by the names of its columns.
type Charge = HashMap<String, String>;
/// What charges are of: tenant, meter, region, and asset where they are by asset.
type Of = [String; 4];

fn number(text: &str) -> BigDecimal {
    if text.is_empty() { BigDecimal::zero() } else { text.parse().unwrap() }
}

fn region(code: i32) -> String {
    BillingRegion::from_code(code).unwrap().to_string()
}

async fn charges(server: &Server, request: &GetFocusCostsRequest) -> Vec<Charge> {
    let found = server.columns(command("GetFocusCostsRequest", request)).await.remove(0);
    let names: Vec<String> = found.schema.fields().iter().map(|field| field.name().clone()).collect();
    found.rows().into_iter().map(|row| names.iter().cloned().zip(row).collect()).collect()
}

/// The quantity, price and costs of each charge of a line, in order.
fn expected(line: &CostLine) -> Vec<[String; 4]> {
    let numbers = |numbers: [&BigDecimal; 4]| numbers.map(plain);
    let (zero, mut charges) = (BigDecimal::zero(), Vec::new());
    if !line.cost.is_empty() {
        let mut exact = BigDecimal::zero();
        for tier in &line.tiers {
            let amount = number(&tier.quantity) * number(&tier.unit_price);
            charges.push(numbers([&number(&tier.quantity), &number(&tier.unit_price), &amount, &amount]));
            exact += amount;
        }
        if line.not_charged && !number(&line.quantity).is_zero() {
            charges.push(numbers([&number(&line.quantity), &zero, &zero, &zero]));
        }
        let rounding = number(&line.cost) - exact;
        if !rounding.is_zero() {
            charges.push([String::new(), String::new(), plain(&rounding), plain(&rounding)]);
        }
    }
    if !number(&line.trial_quantity).is_zero() {
        charges.push(numbers([&number(&line.trial_quantity), &zero, &zero, &zero]));
    }
    charges
}

fn of(charge: &Charge) -> Of {
    ["SubAccountId", "SkuMeter", "RegionId", "ResourceId"].map(|name| charge[name].clone())
}

/// Billed cost, and quantity with and without a price, of each asset and line.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    cost: BigDecimal,
    quantity: BigDecimal,
    trial: BigDecimal,
}

#[test]
fn charges_are_the_bill_and_its_shares() {
    check((case(), prop::collection::vec(draft(), 1..60)), async |database, server, number_of_case, (case, drafts)| {
        let case = super::Case { number: number_of_case, meters: number_of_case, ..case };
        database.apply(&case.catalog()).await;
        database.import(&csv_file(&rows(&drafts, &case))).await;
        let month: Month = case.month().parse().unwrap();
        let months = MonthRange::single(month);
        let organization_id = case.organization().parse().unwrap();
        let query = CostsQuery { organization_id, tenant_id: None, months, as_of: None, current: false };
        let mut client = server.client().await;
        let costs = client.monthly_costs(&query).await.unwrap();
        let mut request = GetFocusCostsRequest {
            organization_id: case.organization(),
            start_month: Some(month.into()),
            version: FocusVersion::FocusVersion14.into(),
            ..Default::default()
        };
        // Longer ones have no column: it has 20 digits before the point, and 18 behind, or 38 of each.
        let of_lines = costs.lines.iter().map(|line| line.quantity.len().max(line.trial_quantity.len())).max().unwrap();
        // What assets add up to may have fewer.
        let longest = rows(&drafts, &case).iter().map(|row| row.0[9].len()).fold(of_lines, usize::max);
        let mut refused = [false; 2];
        for by_asset in [false, true] {
            request.by_asset = by_asset;
            if let Err(status) = server.flight_info(command("GetFocusCostsRequest", &request)).await {
                prop_assert_eq!(status.code(), Code::InvalidArgument);
                let longest = if by_asset { longest } else { of_lines };
                prop_assert!(longest > 19, "{}", status);
                refused[usize::from(by_asset)] = true;
            }
        }
        if refused[0] {
            prop_assert!(refused[1], "assets have no fewer digits");
            return Ok(());
        }
        request.by_asset = false;
        let found = charges(server, &request).await;
        let names = ["PricingQuantity", "ListUnitPrice", "ListCost", "BilledCost"];
        let rows: Vec<(Of, [String; 4])> =
            found.iter().map(|charge| (of(charge), names.map(|name| charge[name].clone()))).collect();
        let lines = costs.lines.iter().flat_map(|line| {
            let of = [line.tenant_id.clone(), line.meter_name.clone(), region(line.billing_region), String::new()];
            expected(line).into_iter().map(move |charge| (of.clone(), charge))
        });
        prop_assert_eq!(rows, lines.collect::<Vec<_>>());
        for charge in &found {
            prop_assert_eq!(&charge["ContractedCost"], &charge["ListCost"]);
            prop_assert_eq!(&charge["EffectiveCost"], &charge["BilledCost"]);
            prop_assert_eq!(&charge["ConsumedQuantity"], &charge["PricingQuantity"]);
        }

        if refused[1] {
            return Ok(());
        }
        let groups = std::iter::once(CostGroup::Asset).collect();
        let subject = BillSubject::Organization(organization_id, None);
        let filter = BreakdownFilter::default();
        let query = BreakdownQuery { subject, months, groups, filter, as_of: None, current: false };
        let mut breakdown = client.cost_breakdown(&query).await.unwrap();
        let mut shares: BTreeMap<Of, Sum> = BTreeMap::new();
        while let Some(next) = breakdown.next().await.unwrap() {
            for row in next.rows {
                let asset =
                    format!("{}/{}/{}", row.tenant_id, AssetType::name_of(row.asset_type).unwrap(), row.asset_id);
                let sum = Sum {
                    cost: number(&row.cost),
                    // What no price covers is no charge.
                    quantity: if row.cost.is_empty() { BigDecimal::zero() } else { number(&row.quantity) },
                    trial: number(&row.trial_quantity),
                };
                shares.insert([row.tenant_id, row.meter_name, region(row.billing_region), asset], sum);
            }
        }
        shares.retain(|_, sum| *sum != Sum::default());
        request.by_asset = true;
        let (mut sums, mut tiers) = (BTreeMap::<Of, Sum>::new(), BTreeMap::<(Of, String), BigDecimal>::new());
        for charge in charges(server, &request).await {
            let quantity = number(&charge["PricingQuantity"]);
            prop_assert_eq!(number(&charge["ListUnitPrice"]) * &quantity, number(&charge["ListCost"]));
            let is_trial = charge["SkuPriceId"].ends_with("/trial");
            let sum = sums.entry(of(&charge)).or_default();
            *(if is_trial { &mut sum.trial } else { &mut sum.quantity }) += &quantity;
            sum.cost += number(&charge["BilledCost"]);
            if charge["SkuPriceDetails"].contains("x_TierFrom") {
                let [tenant, meter, region, _] = of(&charge);
                let line = [tenant, meter, region, String::new()];
                *tiers.entry((line, charge["SkuPriceDetails"].clone())).or_default() += quantity;
            }
        }
        prop_assert_eq!(sums, shares);
        let of_lines = costs.lines.iter().flat_map(|line| {
            let of = [line.tenant_id.clone(), line.meter_name.clone(), region(line.billing_region), String::new()];
            line.tiers.iter().map(move |tier| {
                let mut details = serde_json::json!({ "x_TierFrom": tier.from });
                if !tier.to.is_empty() {
                    details["x_TierTo"] = tier.to.clone().into();
                }
                ((of.clone(), details.to_string()), number(&tier.quantity))
            })
        });
        prop_assert_eq!(tiers, of_lines.collect::<BTreeMap<_, _>>());
        Ok(())
    });
}
