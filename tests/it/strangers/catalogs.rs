//! Lists of organizations and prices that are not sound, or not what was asked for.

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    ListOrganizationsResponse, ListPricesResponse, Organization, Price, PriceTier,
};

use super::{
    lists::{Case, METER, Page, ask, month},
    server::Script,
};
use crate::support::{
    builder::{ORG, ORG_EUR},
    rounds,
};

fn organizations() -> ListOrganizationsResponse {
    let organization = |name: &str, id: &str| Organization {
        organization_id: id.to_owned(),
        name: name.to_owned(),
        currency: "USD".to_owned(),
    };
    let organizations = vec![organization("Acme", ORG), organization("Acme", ORG_EUR)];
    ListOrganizationsResponse { organizations, total_size: 2, next_page_token: String::new() }
}

const ORGANIZATIONS: &[(Page<ListOrganizationsResponse>, &str)] = &[
    (|_, page| page.organizations[0].organization_id = "acme".to_owned(), "invalid organization_id: \"acme\""),
    (|_, page| page.organizations[0].currency = "usd".to_owned(), "invalid currency: \"usd\""),
    (|_, page| page.organizations.reverse(), "its organizations are not in order, or come twice"),
    // The same page, without end.
    (|_, page| page.next_page_token = "more".to_owned(), "its organizations are not in order, or come twice"),
    (
        |_, page| {
            page.organizations.clear();
            page.next_page_token = "more".to_owned();
        },
        "a page is empty, and not the last one",
    ),
    (|_, page| page.organizations = vec![Organization::default(); 700_000], "a page has more than 1000 elements"),
    (|_, page| page.total_size = 3, "another number of organizations than it says"),
    (|_, page| page.total_size = -1, "another number of organizations than it says"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_organizations_that_is_not_sound_is_not_shown() {
    let script = |change: Page<ListOrganizationsResponse>| Script {
        organizations: Box::new(move |call| {
            let mut page = organizations();
            change(call, &mut page);
            Some(Ok(page))
        }),
        ..Script::default()
    };
    let ended = ask(script(|_, _| {}), &["organizations"], &[]).await;
    assert!(ended.code == Some(0) && ended.text().contains(ORG_EUR), "{ended:?}");
    // Names that change between two pages are no lie: the list is read again.
    let ended = ask(script(|call, page| page.total_size += i64::from(call == 0)), &["organizations"], &[]).await;
    assert!(ended.code == Some(0) && ended.text().lines().count() == 3, "{ended:?}");
    for _ in 0..rounds(1) {
        for &(change, expected) in ORGANIZATIONS {
            let ended = ask(script(change), &["organizations"], &[]).await;
            ended.assert_error(expected, expected);
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}

fn price(meter: &str, currency: &str, region: i32) -> Price {
    let tier =
        |from: &str, to: &str| PriceTier { from: from.to_owned(), to: to.to_owned(), unit_price: "0.1".to_owned() };
    Price {
        meter_name: meter.to_owned(),
        meter_id: METER.to_owned(),
        unit: "hour".to_owned(),
        not_charged: false,
        currency: currency.to_owned(),
        billing_region: region,
        effective_from: month(2),
        pricing_model: 1,
        rounding: 1,
        tiers: vec![tier("0", "5"), tier("5", "")],
        applied_at: Some(Timestamp { seconds: 1_646_092_800, nanos: 0 }),
    }
}

/// Two prices, and a meter that is not charged.
fn prices() -> ListPricesResponse {
    let uncharged = Price { not_charged: true, ..Price::default() };
    let uncharged = Price { meter_name: "b".to_owned(), applied_at: price("a", "USD", 0).applied_at, ..uncharged };
    ListPricesResponse {
        prices: vec![price("a", "USD", 0), price("a", "USD", 3), uncharged],
        next_page_token: String::new(),
    }
}

const PRICES: &[Case<ListPricesResponse>] = &[
    (&["--meter", "a"], |_, _| {}, "a price is of the meter \"b\""),
    (&["--currency", "EUR"], |_, _| {}, "a price is in \"USD\""),
    (&["--as-of", "2022-02-20T00:00:00Z"], |_, _| {}, "and not as of 2022-02-20T00:00:00Z"),
    (&[], |_, page| page.prices[0].effective_from = month(3), "a price of \"a\" is of a later month"),
    (&[], |_, page| page.prices[0].effective_from = None, "a price of \"a\" is of a later month"),
    (&[], |_, page| page.prices[0].currency = "dollars".to_owned(), "invalid currency: \"dollars\""),
    (&[], |_, page| page.prices.reverse(), "its prices are not in order, or come twice"),
    // The same page, without end.
    (&[], |_, page| page.next_page_token = "more".to_owned(), "its prices are not in order, or come twice"),
    (
        &[],
        |_, page| {
            page.prices.clear();
            page.next_page_token = "more".to_owned();
        },
        "a page is empty, and not the last one",
    ),
    (&[], |_, page| page.prices[2].tiers = page.prices[0].tiers.clone(), "\"b\" is not charged, and has a price"),
    (&[], |_, page| page.prices[2].currency = "USD".to_owned(), "\"b\" is not charged, and has a price"),
    (&[], |_, page| page.prices[0].tiers.clear(), "the tiers of \"a\" do not follow each other"),
    (&[], |_, page| drop(page.prices[0].tiers.pop()), "the tiers of \"a\" do not follow each other"),
    (&[], |_, page| page.prices[0].tiers.reverse(), "the tiers of \"a\" do not follow each other"),
    (&[], |_, page| page.prices[0].tiers[1].from = "6".to_owned(), "the tiers of \"a\" do not follow each other"),
    (&[], |_, page| page.prices[0].tiers[1].to = "5".to_owned(), "the tiers of \"a\" do not follow each other"),
    (&[], |_, page| page.prices[0].tiers[0].to = "NaN".to_owned(), "invalid to: \"NaN\""),
    (&[], |_, page| page.prices[0].tiers[0].unit_price = "1e9".to_owned(), "invalid unit_price: \"1e9\""),
    (&[], |_, page| page.prices[0].tiers = vec![PriceTier::default(); 700_000], "a price has an empty tier"),
    (&[], |_, page| page.prices = vec![Price::default(); 700_000], "a page has more than 1000 elements"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_that_were_not_asked_for_are_not_shown() {
    let script = |change: Page<ListPricesResponse>| Script {
        prices: Box::new(move |call| {
            let mut page = prices();
            change(call, &mut page);
            Some(Ok(page))
        }),
        ..Script::default()
    };
    let command = ["prices", "--month", "2022-02"];
    for more in [&[][..], &["--currency", "USD", "--as-of", "2022-03-01T00:00:00Z"]] {
        let ended = ask(script(|_, _| {}), &command, more).await;
        assert!(ended.code == Some(0) && ended.text().contains("not charged"), "{ended:?}");
    }
    for _ in 0..rounds(1) {
        for &(more, change, expected) in PRICES {
            let ended = ask(script(change), &command, more).await;
            ended.assert_error(expected, expected);
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}
