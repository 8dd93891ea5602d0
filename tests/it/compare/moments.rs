//! A month at two moments, and a statement against now.

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{BillState, ComparisonKind, CostSide};

use super::{compare, current, draft, price, price_in_file, request, short, side, with_draft};
use crate::{
    statements::books::{Books, present},
    support::builder::{CATALOG, GIB, HOURS, ORG, Row, TENANT_2, csv},
};

use ComparisonKind::{Changed, New, Unchanged, Vanished};

fn as_of(side: Option<CostSide>, moment: Timestamp) -> Option<CostSide> {
    Some(CostSide { as_of: Some(moment), ..side.unwrap() })
}

#[tokio::test]
async fn a_month_is_compared_with_itself_at_another_moment() {
    let books = Books::open().await;
    let database = &books.database;
    database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-02-02", "1000").bandwidth()])).await;
    let first = present(database).await;
    // A day is restated, another one comes, and a price is corrected.
    database.import(&csv(&[Row::on("2022-02-01", "150")])).await;
    database.import(&csv(&[Row::on("2022-02-03", "10").with("billingRegion", "NA")])).await;
    database.apply(&price_in_file(HOURS, "2022-01", "{ unit_price = \"0.02\" }")).await;
    let second = present(database).await;
    database.import_from("late", &csv(&[Row::on("2022-02-01", "1")])).await;
    let at = |moment: &Timestamp| as_of(side("2022-02"), *moment);
    let compared = compare(&books.server, request(at(&first), at(&second))).await;
    let expected = [
        (GIB, 3, Unchanged, ["80.75", "80.75"], ["0", "0", "0"]),
        (HOURS, 3, Changed, ["1.00", "3.00"], ["0.5", "1.5", "0"]),
        (HOURS, 4, New, ["0.00", "0.20"], ["0.1", "0.1", "0"]),
    ];
    assert_eq!(short(&compared), expected);
    let moments = [compared.header.base, compared.header.target].map(|side| side.unwrap().as_of);
    assert_eq!(moments, [Some(first), Some(second)]);
    let same = compare(&books.server, request(at(&second), at(&second))).await;
    assert!(short(&same).iter().all(|line| line.2 == Unchanged), "{:?}", short(&same));
    // Without moments, both are of the present.
    let now = compare(&books.server, request(side("2022-02"), side("2022-02"))).await;
    assert!(short(&now).iter().all(|line| line.2 == Unchanged), "{:?}", short(&now));
    let since = compare(&books.server, request(at(&second), side("2022-02"))).await;
    assert_eq!(short(&since)[1], (HOURS, 3, Changed, ["3.00", "3.02"], ["0.02", "0", "0"]));
}

#[tokio::test]
async fn a_statement_is_compared_with_what_its_month_would_cost_now() {
    let books = Books::open().await;
    let database = &books.database;
    let rows = [
        Row::on("2022-02-01", "100"),
        Row::on("2022-02-01", "1070.25").bandwidth(),
        Row::on("2022-02-02", "300").with("billingRegion", "NA"),
        Row::on("2022-02-01", "200").of(ORG, TENANT_2),
    ];
    database.import(&csv(&rows)).await;
    let before = present(database).await;
    books.close("2022-02").await;
    // Late usage, a day that is withdrawn from the report, a price that is corrected, and names that change the order.
    database.import_from("late", &csv(&[Row::on("2022-02-05", "50")])).await;
    database.import(&csv(&[Row::on("2022-02-02", "0").with("billingRegion", "NA")])).await;
    let tiers = "{ up_to = \"50\", unit_price = \"0\" }, { up_to = \"1000\", unit_price = \"0.085\" }, { unit_price = \"0.05\" }";
    database.apply(&price_in_file(GIB, "2022-01", tiers)).await;
    let renamed =
        CATALOG.replace("\"acme-hq\"", "\"zz-hq\"").replace(&CATALOG[CATALOG.find("[[prices]]").unwrap()..], "");
    database.apply(&renamed).await;
    let compared = compare(&books.server, request(side("2022-02"), current("2022-02"))).await;
    // 80.75 + 70.25 × 0.05 = 84.2625.
    let expected = [
        (HOURS, 3, Unchanged, ["2.00", "2.00"], ["0", "0", "0"]),
        (GIB, 3, Changed, ["84.97", "84.26"], ["0", "-0.7025", "-0.0075"]),
        (HOURS, 3, Changed, ["1.00", "1.50"], ["0.5", "0", "0"]),
        (HOURS, 4, Changed, ["3.00", "0.00"], ["-3", "0", "0"]),
    ];
    assert_eq!(short(&compared), expected);
    let names: Vec<_> = compared.lines.iter().map(|line| line.tenant_name.as_str()).collect();
    assert_eq!(names, ["acme-lab", "zz-hq", "zz-hq", "zz-hq"]);
    let [base, target] = [compared.header.base, compared.header.target].map(Option::unwrap);
    assert_eq!((base.state(), base.statement_number.as_str()), (BillState::Closed, "2022-02-000001"));
    assert_eq!((target.state(), target.statement_number.as_str()), (BillState::Closed, ""));
    // The difference is what the next bill adjusts.
    let march = books.costs("2022-03", "2022-03").await;
    assert_eq!(march.totals[0].adjustment, "-3.21");
    assert_eq!([compared.summary.base_cost.as_str(), &compared.summary.target_cost], ["90.97", "87.76"]);
    // A statement is what it was, and what stood before it.
    let same = compare(&books.server, request(as_of(side("2022-02"), before), side("2022-02"))).await;
    assert!(short(&same).iter().all(|line| line.2 == Unchanged), "{:?}", short(&same));
    let base = same.header.base.unwrap();
    assert_eq!((base.state(), base.statement_number.as_str()), (BillState::Open, ""));
    // The prices of a statement are those of its horizon, also for other quantities.
    database.import(&csv(&[Row::on("2022-03-01", "2000").bandwidth()])).await;
    let next = compare(&books.server, request(side("2022-02"), side("2022-03"))).await;
    let line = short(&next).into_iter().find(|line| line.0 == GIB).unwrap();
    // 80.75 + 1000 × 0.06 = 140.75 by the prices of then, and 130.75 by those of now.
    assert_eq!(line, (GIB, 3, Changed, ["84.97", "130.75"], ["55.785", "-10", "-0.005"]));
}

#[tokio::test]
async fn a_draft_of_a_closed_month_rates_the_usage_of_its_statement() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-02-01", "100")])).await;
    books.close("2022-02").await;
    books.database.import_from("late", &csv(&[Row::on("2022-02-05", "50")])).await;
    let dearer = || draft(vec![price(HOURS, "2022-02", &[("", "0.03")])], &[]);
    let of_statement = request(side("2022-02"), with_draft(side("2022-02"), dearer()));
    let compared = compare(&books.server, of_statement).await;
    assert_eq!(short(&compared), [(HOURS, 3, Changed, ["1.00", "3.00"], ["0", "2", "0"])]);
    let target = compared.header.target.unwrap();
    assert_eq!((target.statement_number.as_str(), target.draft), ("2022-02-000001", true));
    let of_now = request(current("2022-02"), with_draft(current("2022-02"), dearer()));
    assert_eq!(short(&compare(&books.server, of_now).await), [(HOURS, 3, Changed, ["1.50", "4.50"], ["0", "3", "0"])]);
    let both = request(side("2022-02"), with_draft(current("2022-02"), dearer()));
    assert_eq!(short(&compare(&books.server, both).await), [(HOURS, 3, Changed, ["1.00", "4.50"], ["0.5", "3", "0"])]);
}

#[tokio::test]
async fn months_that_were_closed_without_usage_have_no_lines() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-02-01", "100")])).await;
    books.close("2022-02").await;
    // It is billed as an adjustment, and so on no bill of January.
    books.database.import(&csv(&[Row::on("2022-01-01", "70")])).await;
    let bills = compare(&books.server, request(side("2022-01"), side("2022-02"))).await;
    assert_eq!(short(&bills), [(HOURS, 3, New, ["0.00", "1.00"], ["1", "0", "0"])]);
    let base = bills.header.base.unwrap();
    assert_eq!((base.state(), base.statement_number.as_str()), (BillState::Closed, ""));
    let now = compare(&books.server, request(current("2022-01"), side("2022-02"))).await;
    assert_eq!(short(&now), [(HOURS, 3, Changed, ["0.70", "1.00"], ["0.3", "0", "0"])]);
    let gone = compare(&books.server, request(current("2022-01"), side("2022-01"))).await;
    assert_eq!(short(&gone), [(HOURS, 3, Vanished, ["0.70", "0.00"], ["-0.7", "0", "0"])]);
}
