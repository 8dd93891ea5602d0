//! A draft of a price list against the real one.

use secure_connect_reports::contract::proto::{BillingRegion, ComparisonKind, CostSide, DraftPrice, RoundingMode};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{compare, draft, price, request, short, side, try_compare, with_draft};
use crate::{
    statements::books::{Books, present},
    support::{
        Database,
        builder::{CATALOG, GIB, HOURS, ORG, ORG_EUR, Row, TENANT_2, TENANT_EUR, csv},
    },
};

use ComparisonKind::{Changed, Unchanged};

/// Everything that is stored of prices, and the publication clock.
async fn stored(database: &Database) -> String {
    let sql = "SELECT concat_ws('|',
            (SELECT string_agg(price::text, ';' ORDER BY price_id) FROM price),
            (SELECT string_agg(price_tier::text, ';' ORDER BY price_tier::text) FROM price_tier),
            (SELECT string_agg(meter::text, ';' ORDER BY meter_key) FROM meter),
            (SELECT string_agg(uncharged_meter::text, ';' ORDER BY uncharged_meter::text) FROM uncharged_meter),
            (SELECT last_published_at FROM publication_clock))";
    database.sql().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// A file, and the draft that says the same.
const FILE: &str = r#"
[[meters]]
id = "cccccccc-0000-4000-8000-000000000002"
name = "bandwidth_gib_essentials"
unit = "GiB"
charged = true
[[meters]]
id = "cccccccc-0000-4000-8000-0000000000ff"
name = "new_hours"
unit = "hour"
charged = false
[[prices]]
meter = "user_hours_essentials"
currency = "USD"
effective_from = "2022-01"
rounding = "half_even"
tiers = [{ up_to = "100", unit_price = "0.0105" }, { unit_price = "0.02" }]
[[prices]]
meter = "bandwidth_gib_essentials"
currency = "USD"
billing_region = "NA"
effective_from = "2022-02"
tiers = [{ unit_price = "0.5" }]
[[prices]]
meter = "user_hours_essentials"
currency = "EUR"
effective_from = "2022-01"
tiers = [{ unit_price = "7" }]
[[prices]]
meter = "user_hours_essentials"
currency = "USD"
effective_from = "2022-03"
tiers = [{ unit_price = "9" }]
[[prices]]
meter = "new_hours"
currency = "USD"
effective_from = "2022-01"
tiers = [{ unit_price = "9" }]
"#;

fn file_as_draft() -> secure_connect_reports::contract::proto::PriceListDraft {
    let hours = price(HOURS, "2022-01", &[("100", "0.0105"), ("", "0.02")]);
    let prices = vec![
        DraftPrice { rounding: RoundingMode::HalfEven.into(), ..hours },
        DraftPrice { billing_region: BillingRegion::Na.into(), ..price(GIB, "2022-02", &[("", "0.5")]) },
        DraftPrice { currency: "EUR".to_owned(), ..price(HOURS, "2022-01", &[("", "7")]) },
        price(HOURS, "2022-03", &[("", "9")]),
        price("new_hours", "2022-01", &[("", "9")]),
    ];
    draft(prices, &[(GIB, true), ("new_hours", false)])
}

#[tokio::test]
async fn a_draft_shows_what_applying_it_would_do_and_stores_nothing() {
    let books = Books::open().await;
    let rows = [
        Row::on("2022-02-01", "100.5"),
        Row::on("2022-02-01", "300").with("billingRegion", "NA").bandwidth(),
        Row::on("2022-02-01", "300").bandwidth(),
        Row::on("2022-02-01", "100").of(ORG, TENANT_2),
        Row::on("2022-02-01", "1").of(ORG_EUR, TENANT_EUR),
    ];
    books.database.import(&csv(&rows)).await;
    let before = present(&books.database).await;
    let everything = stored(&books.database).await;
    let request = |base: Option<CostSide>, target| request(base, target);
    let compared = compare(&books.server, request(side("2022-02"), with_draft(side("2022-02"), file_as_draft()))).await;
    // 100 × 0.0105 + 0.5 × 0.02 = 1.06; 1.05 for the other tenant; 250 × 0.085 became 300 × 0.5.
    let expected = [
        (GIB, 3, Unchanged, ["21.25", "21.25"], ["0", "0", "0"]),
        (GIB, 4, Changed, ["21.25", "150.00"], ["0", "128.75", "0"]),
        (HOURS, 3, Changed, ["1.01", "1.06"], ["0", "0.055", "-0.005"]),
        (HOURS, 3, Changed, ["1.00", "1.05"], ["0", "0.05", "0"]),
    ];
    assert_eq!(short(&compared), expected);
    let [base, target] = [&compared.header.base, &compared.header.target].map(|side| side.clone().unwrap());
    assert_eq!((base.draft, target.draft), (false, true));
    assert_eq!(stored(&books.database).await, everything);
    // The other organization's currency has a price in the draft, too.
    let euros = |target| secure_connect_reports::contract::proto::CompareCostsRequest {
        organization_id: ORG_EUR.to_owned(),
        ..request(side("2022-02"), target)
    };
    let in_euros = compare(&books.server, euros(with_draft(side("2022-02"), file_as_draft()))).await;
    assert_eq!(short(&in_euros), [(HOURS, 3, Changed, ["", "7.00"], ["0", "7", "0"])]);
    // As the base, it is the other way round.
    let back = compare(&books.server, request(with_draft(side("2022-02"), file_as_draft()), side("2022-02"))).await;
    assert_eq!(short(&back)[1], (GIB, 4, Changed, ["150.00", "21.25"], ["0", "-128.75", "0"]));
    // Applied, it does the same, to the last digit.
    books.database.apply(FILE).await;
    let applied = request(Some(CostSide { as_of: Some(before), ..side("2022-02").unwrap() }), side("2022-02"));
    let applied = compare(&books.server, applied).await;
    assert_eq!((applied.lines, applied.summary), (compared.lines, compared.summary));
}

#[tokio::test]
async fn a_draft_says_what_is_charged() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-02-01", "100").bandwidth()])).await;
    let server = database.serve();
    let free = request(side("2022-02"), with_draft(side("2022-02"), draft(Vec::new(), &[(HOURS, false)])));
    let free = compare(&server, free).await;
    let expected = [
        (GIB, 3, Unchanged, ["4.25", "4.25"], ["0", "0", "0"]),
        (HOURS, 3, Changed, ["1.00", "0.00"], ["0", "-1", "0"]),
    ];
    assert_eq!(short(&free), expected);
    assert_eq!(free.summary.target_unpriced_count, 0);
    database.apply(&CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false")).await;
    let charged = request(side("2022-02"), with_draft(side("2022-02"), draft(Vec::new(), &[(HOURS, true)])));
    assert_eq!(short(&compare(&server, charged).await)[1], (HOURS, 3, Changed, ["0.00", "1.00"], ["0", "1", "0"]));
    // A draft that says nothing changes nothing.
    let nothing = request(side("2022-02"), with_draft(side("2022-02"), draft(Vec::new(), &[])));
    assert!(short(&compare(&server, nothing).await).iter().all(|line| line.2 == Unchanged));
}

#[tokio::test]
async fn what_a_catalog_could_not_have_is_refused_by_its_field() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let good = || price(HOURS, "2022-01", &[("5", "1"), ("", "2")]);
    let prices: Vec<(&str, Vec<DraftPrice>)> = vec![
        ("prices[1].meter", vec![good(), price("nothing", "2022-01", &[("", "1")])]),
        ("prices[0].meter", vec![price("", "2022-01", &[("", "1")])]),
        ("prices[0].currency", vec![DraftPrice { currency: "dollars".to_owned(), ..good() }]),
        ("prices[0].currency", vec![DraftPrice { currency: String::new(), ..good() }]),
        ("prices[0].billing_region", vec![DraftPrice { billing_region: 9, ..good() }]),
        ("prices[0].pricing_model", vec![DraftPrice { pricing_model: 9, ..good() }]),
        ("prices[0].rounding", vec![DraftPrice { rounding: 9, ..good() }]),
        ("prices[0].effective_from", vec![DraftPrice { effective_from: None, ..good() }]),
        (
            "prices[0].effective_from",
            vec![DraftPrice {
                effective_from: Some(secure_connect_reports::contract::proto::YearMonth { year: 2022, month: 13 }),
                ..good()
            }],
        ),
        ("prices[0].tiers", vec![price(HOURS, "2022-01", &[])]),
        ("prices[0].tiers[0].up_to", vec![price(HOURS, "2022-01", &[("", "1"), ("", "2")])]),
        ("prices[0].tiers[1].up_to", vec![price(HOURS, "2022-01", &[("5", "1"), ("5", "2"), ("", "3")])]),
        ("prices[0].tiers[1].up_to", vec![price(HOURS, "2022-01", &[("5", "1"), ("6", "2")])]),
        ("prices[0].tiers[0].unit_price", vec![price(HOURS, "2022-01", &[("", "-1")])]),
        ("prices[1]", vec![good(), good()]),
    ];
    for (field, prices) in prices {
        let draft = draft(prices, &[]);
        let error =
            try_compare(&server, request(side("2022-01"), with_draft(side("2022-02"), draft))).await.err().unwrap();
        assert_eq!(error.code(), Code::InvalidArgument, "{field}");
        let violations = error.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, format!("target.draft.{field}"));
    }
    let twice = draft(Vec::new(), &[(HOURS, true), (HOURS, false)]);
    let error = try_compare(&server, request(with_draft(side("2022-01"), twice), side("2022-02"))).await.err().unwrap();
    assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, "base.draft.meters[1].meter");
    let both = request(
        with_draft(side("2022-01"), draft(Vec::new(), &[])),
        with_draft(side("2022-01"), draft(vec![good()], &[])),
    );
    let error = try_compare(&server, both).await.err().unwrap();
    assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, "target.draft");
}
