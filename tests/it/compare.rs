//! `CompareCosts`: why a bill changed.

mod assets;
mod command;
mod drafts;
mod history;
mod lines;
mod moments;
mod preview;
mod requests;

use bigdecimal::BigDecimal;
use secure_connect_reports::contract::proto::{
    CompareCostsRequest, CompareCostsResponse, ComparedLine, ComparisonHeader, ComparisonKind, ComparisonSummary,
    CostBasis, CostSide, DraftMeter, DraftPrice, DraftTier, MovedAsset, PriceListDraft,
};
use tonic::Status;

use crate::{
    statements::books::{amount, month},
    support::{
        Server,
        builder::{GIB, HOURS, ORG},
    },
};

/// A whole comparison.
pub(crate) struct Compared {
    pub(crate) header: ComparisonHeader,
    pub(crate) lines: Vec<ComparedLine>,
    pub(crate) assets: Vec<MovedAsset>,
    pub(crate) summary: ComparisonSummary,
}

pub(crate) fn side(of: &str) -> Option<CostSide> {
    Some(CostSide { month: month(of), ..CostSide::default() })
}

pub(crate) fn current(of: &str) -> Option<CostSide> {
    Some(CostSide { basis: CostBasis::Current.into(), ..side(of).unwrap() })
}

pub(crate) fn request(base: Option<CostSide>, target: Option<CostSide>) -> CompareCostsRequest {
    CompareCostsRequest { organization_id: ORG.to_owned(), base, target, ..CompareCostsRequest::default() }
}

/// All messages of a stream.
pub(crate) async fn messages(
    server: &Server,
    request: CompareCostsRequest,
) -> Result<Vec<CompareCostsResponse>, Status> {
    let mut stream = server.stub().await.compare_costs(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

pub(crate) async fn try_compare(server: &Server, request: CompareCostsRequest) -> Result<Compared, Status> {
    let mut messages = messages(server, request).await?;
    let header = messages[0].header.take().expect("a header");
    let summary = messages.last_mut().unwrap().summary.take().expect("a complete stream");
    assert!(messages.iter().all(|message| message.header.is_none() && message.summary.is_none()));
    let lines: Vec<ComparedLine> = messages.iter().flat_map(|message| message.lines.clone()).collect();
    let assets = messages.iter().flat_map(|message| message.assets.clone()).collect();
    check(&lines, &summary);
    Ok(Compared { header, lines, assets, summary })
}

pub(crate) async fn compare(server: &Server, request: CompareCostsRequest) -> Compared {
    try_compare(server, request).await.expect("a comparison")
}

/// Effects add up, and the summary is of the lines.
fn check(lines: &[ComparedLine], summary: &ComparisonSummary) {
    let mut sums = [(); 5].map(|()| BigDecimal::default());
    let mut counts = [0; 5];
    for line in lines {
        let amounts =
            [&line.base_cost, &line.target_cost, &line.usage_effect, &line.price_effect, &line.rounding_effect];
        let amounts = amounts.map(|text| amount(text));
        assert_eq!(&amounts[1] - &amounts[0], &amounts[2] + &amounts[3] + &amounts[4], "{line:?}");
        sums.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
        counts[line.kind() as usize] += 1;
    }
    let stated = [
        &summary.base_cost,
        &summary.target_cost,
        &summary.usage_effect,
        &summary.price_effect,
        &summary.rounding_effect,
    ];
    assert_eq!(stated.map(|text| amount(text)), sums);
    assert_eq!(counts[0], 0);
    let stated = [summary.unchanged_count, summary.changed_count, summary.new_count, summary.vanished_count];
    assert_eq!(stated, counts[1..]);
    let unpriced = |of: fn(&ComparedLine) -> bool| lines.iter().filter(|line| of(line)).count() as i64;
    assert_eq!(summary.base_unpriced_count, unpriced(|line| line.base_unpriced));
    assert_eq!(summary.target_unpriced_count, unpriced(|line| line.target_unpriced));
}

/// Meter, region, kind, costs and effects.
pub(crate) type Short<'a> = (&'a str, i32, ComparisonKind, [&'a str; 2], [&'a str; 3]);

/// In short, each line.
pub(crate) fn short(compared: &Compared) -> Vec<Short<'_>> {
    let lines = compared.lines.iter();
    lines
        .map(|line| {
            let costs = [line.base_cost.as_str(), &line.target_cost];
            let effects = [line.usage_effect.as_str(), &line.price_effect, &line.rounding_effect];
            (line.meter_name.as_str(), line.billing_region, line.kind(), costs, effects)
        })
        .collect()
}

/// A price in dollars, with tiers by their ends and unit prices.
pub(crate) fn price(meter: &str, from: &str, tiers: &[(&str, &str)]) -> DraftPrice {
    let tiers = tiers
        .iter()
        .map(|(up_to, unit_price)| DraftTier { up_to: (*up_to).to_owned(), unit_price: (*unit_price).to_owned() });
    DraftPrice {
        meter: meter.to_owned(),
        currency: "USD".to_owned(),
        effective_from: month(from),
        tiers: tiers.collect(),
        ..DraftPrice::default()
    }
}

pub(crate) fn draft(prices: Vec<DraftPrice>, meters: &[(&str, bool)]) -> PriceListDraft {
    let meters = meters.iter().map(|&(meter, charged)| DraftMeter { meter: meter.to_owned(), charged });
    PriceListDraft { prices, meters: meters.collect() }
}

pub(crate) fn with_draft(side: Option<CostSide>, draft: PriceListDraft) -> Option<CostSide> {
    Some(CostSide { draft: Some(draft), ..side.unwrap() })
}

/// The same price in a catalog.
pub(crate) fn price_in_file(meter: &str, from: &str, tiers: &str) -> String {
    format!("[[prices]]\nmeter = \"{meter}\"\ncurrency = \"USD\"\neffective_from = \"{from}\"\ntiers = [{tiers}]\n")
}

const METERS: [&str; 2] = [GIB, HOURS];
