//! What lines say of two months.

use secure_connect_reports::contract::proto::{BillState, CompareCostsRequest, ComparisonKind};

use super::{METERS, compare, messages, price_in_file, request, short, side};
use crate::{
    statements::books::month,
    support::{
        Database,
        builder::{GIB, GIB_ID, HOURS, HOURS_ID, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    },
};

use ComparisonKind::{Changed, New, Unchanged, Vanished};

#[tokio::test]
async fn a_line_is_explained_by_usage_prices_and_rounding() {
    let database = Database::with_catalog().await;
    // A price that is lower from March on, and has one tier less.
    database
        .apply(&price_in_file(GIB, "2022-03", "{ up_to = \"50\", unit_price = \"0\" }, { unit_price = \"0.0785\" }"))
        .await;
    let rows = [
        Row::on("2022-02-01", "1070.25").bandwidth(),
        Row::on("2022-02-01", "9").bandwidth().with("trial", "TRUE"),
        Row::on("2022-03-01", "1200.3").bandwidth(),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let compared = compare(&server, request(side("2022-02"), side("2022-03"))).await;
    let [line] = compared.lines.as_slice() else { panic!("one line, not {:?}", compared.lines) };
    assert_eq!(
        (line.tenant_id.as_str(), line.tenant_name.as_str(), line.plan.as_str()),
        (TENANT, "acme-hq", "essentials")
    );
    assert_eq!((line.meter_name.as_str(), line.meter_id.as_str(), line.unit.as_str()), (GIB, GIB_ID, "GiB"));
    assert_eq!((line.base_quantity.as_str(), line.target_quantity.as_str()), ("1070.25", "1200.3"));
    // C(1070.25) = 80.75 + 70.25 × 0.06 = 84.965; C(1200.3) = 80.75 + 200.3 × 0.06 = 92.768; then 1150.3 × 0.0785 = 90.29855.
    let costs = ["84.97", "90.30"];
    let effects = ["7.803", "-2.46945", "-0.00355"];
    assert_eq!(short(&compared), [(GIB, 3, Changed, costs, effects)]);
    assert!(!line.base_unpriced && !line.target_unpriced);
    let header = &compared.header;
    assert_eq!((header.organization_id.as_str(), header.currency.as_str()), (ORG, "USD"));
    let [base, target] = [&header.base, &header.target].map(|side| side.clone().unwrap());
    assert_eq!((base.month, target.month), (month("2022-02"), month("2022-03")));
    assert!(base.as_of.is_some() && base.as_of == target.as_of);
    for side in [base, target] {
        assert_eq!((side.state(), side.statement_number.as_str(), side.draft), (BillState::Open, "", false));
    }
    let summary = &compared.summary;
    assert_eq!([&summary.base_cost, &summary.target_cost], ["84.97", "90.30"]);
    // The other way round, the effects are of the other prices and quantities.
    let back = compare(&server, request(side("2022-03"), side("2022-02"))).await;
    // C_march(1070.25) = 1020.25 × 0.0785 = 80.089625.
    assert_eq!(short(&back), [(GIB, 3, Changed, ["90.30", "84.97"], ["-10.208925", "4.875375", "0.00355"])]);
}

#[tokio::test]
async fn lines_come_and_go_in_the_order_of_bills() {
    let database = Database::with_catalog().await;
    let february = |row: Row| row;
    let rows = [
        february(Row::on("2022-02-01", "100")).with("billingRegion", "AF"),
        february(Row::on("2022-02-01", "200")),
        february(Row::on("2022-02-01", "300")).of(ORG, TENANT_2),
        Row::on("2022-03-01", "200"),
        Row::on("2022-03-01", "50").with("billingRegion", "NA"),
        Row::on("2022-03-01", "60").bandwidth(),
        Row::on("2022-03-01", "40").bandwidth().of(ORG, TENANT_2),
        Row::on("2022-03-01", "70").of(ORG, TENANT_2),
        Row::on("2022-03-01", "1").of(ORG_EUR, TENANT_EUR),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let compared = compare(&server, request(side("2022-02"), side("2022-03"))).await;
    let expected = [
        (GIB, 3, New, ["0.00", "0.85"], ["0.85", "0", "0"]),
        (HOURS, 1, Vanished, ["1.00", "0.00"], ["-1", "0", "0"]),
        (HOURS, 3, Unchanged, ["2.00", "2.00"], ["0", "0", "0"]),
        (HOURS, 4, New, ["0.00", "0.50"], ["0.5", "0", "0"]),
        // It is new, though it costs nothing.
        (GIB, 3, New, ["0.00", "0.00"], ["0", "0", "0"]),
        (HOURS, 3, Changed, ["3.00", "0.70"], ["-2.3", "0", "0"]),
    ];
    assert_eq!(short(&compared), expected);
    let tenants: Vec<_> = compared.lines.iter().map(|line| line.tenant_name.as_str()).collect();
    assert_eq!(tenants, ["acme-hq", "acme-hq", "acme-hq", "acme-hq", "acme-lab", "acme-lab"]);
    let one = CompareCostsRequest { tenant_id: TENANT_2.to_owned(), ..request(side("2022-02"), side("2022-03")) };
    assert_eq!(short(&compare(&server, one).await), expected[4..]);
    // Months without usage are compared, too.
    let nothing = compare(&server, request(side("2021-02"), side("2021-03"))).await;
    assert_eq!((nothing.lines.len(), nothing.summary.target_cost.as_str()), (0, "0.00"));
    let all = compare(&server, request(side("2021-02"), side("2022-03"))).await;
    assert!(all.lines.iter().all(|line| line.kind() == New && METERS.contains(&line.meter_name.as_str())));
}

#[tokio::test]
async fn what_has_no_price_counts_as_nothing_and_is_marked() {
    let database = Database::with_catalog().await;
    // Prices begin in January 2022.
    let rows = ["2021-12-01", "2022-01-01"].map(|day| Row::on(day, "300"));
    database.import(&csv(&rows)).await;
    database.import(&csv(&[Row::on("2022-02-01", "500"), Row::on("2021-11-01", "100").bandwidth()])).await;
    let server = database.serve();
    let marks = async |base: &str, target: &str| {
        let compared = compare(&server, request(side(base), side(target))).await;
        let line = compared.lines.iter().find(|line| line.meter_name == HOURS).expect("a line").clone();
        let effects = [&line.usage_effect, &line.price_effect, &line.rounding_effect].map(String::clone);
        ([line.base_cost, line.target_cost], effects, [line.base_unpriced, line.target_unpriced], line.kind)
    };
    let texts = |texts: [&str; 2]| texts.map(str::to_owned);
    let effects = |texts: [&str; 3]| texts.map(str::to_owned);
    // A price that comes is an effect of prices.
    let expected = (texts(["", "3.00"]), effects(["0", "3", "0"]), [true, false], Changed as i32);
    assert_eq!(marks("2021-12", "2022-01").await, expected);
    let expected = (texts(["3.00", ""]), effects(["0", "-3", "0"]), [false, true], Changed as i32);
    assert_eq!(marks("2022-01", "2021-12").await, expected);
    // What is new has no usage effect where the base has no price.
    let expected = (texts(["0.00", "5.00"]), effects(["0", "5", "0"]), [true, false], New as i32);
    assert_eq!(marks("2021-11", "2022-02").await, expected);
    let expected = (texts(["", ""]), effects(["0", "0", "0"]), [true, true], Unchanged as i32);
    assert_eq!(marks("2021-12", "2021-12").await, expected);
    // A price of nothing is a price.
    database.apply(&price_in_file(HOURS, "2021-12", "{ unit_price = \"0\" }")).await;
    let before = compare(&server, request(side("2021-11"), side("2021-12"))).await;
    let expected =
        [(GIB, 3, Vanished, ["", "0.00"], ["0", "0", "0"]), (HOURS, 3, New, ["0.00", "0.00"], ["0", "0", "0"])];
    assert_eq!(short(&before), expected);
    assert_eq!((before.summary.base_unpriced_count, before.summary.target_unpriced_count), (2, 0));
}

#[tokio::test]
async fn a_meter_that_is_not_charged_costs_nothing_without_a_mark() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2021-12-01", "300"), Row::on("2022-01-01", "400")])).await;
    let meter = format!("[[meters]]\nid = \"{HOURS_ID}\"\nname = \"{HOURS}\"\nunit = \"hour\"\ncharged = false\n");
    database.apply(&meter).await;
    let server = database.serve();
    let compared = compare(&server, request(side("2021-12"), side("2022-01"))).await;
    assert_eq!(short(&compared), [(HOURS, 3, Changed, ["0.00", "0.00"], ["0", "0", "0"])]);
    assert_eq!((compared.summary.base_unpriced_count, compared.summary.target_unpriced_count), (0, 0));
}

/// Parts are of 50 tenants, and messages of some hundred kilobytes.
#[tokio::test]
async fn a_large_organization_comes_in_parts() {
    let database = Database::with_catalog().await;
    let tenant = |n: usize| format!("bbbbbbbb-1111-4000-8000-{n:012}");
    let mut catalog = String::new();
    let mut rows = Vec::new();
    for n in 0..120 {
        // Names are not in the order of ids.
        catalog += &format!(
            "[[tenants]]\nid = \"{}\"\norganization_id = \"{ORG}\"\nname = \"t{:03}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n",
            tenant(n),
            (n * 7) % 120
        );
        for region in ["AF", "AP", "EU", "NA"] {
            for (day, quantity) in [("2022-02-01", n + 1), ("2022-03-01", n + 2)] {
                let row = Row::on(day, &format!("{quantity}00")).with("billingRegion", region).of(ORG, &tenant(n));
                rows.extend([row.clone(), row.bandwidth()]);
            }
        }
    }
    database.apply(&catalog).await;
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let compared = compare(&server, request(side("2022-02"), side("2022-03"))).await;
    assert_eq!((compared.lines.len(), compared.summary.changed_count), (960, 960));
    let order: Vec<_> =
        compared.lines.iter().map(|line| (&line.tenant_name, &line.meter_name, line.billing_region)).collect();
    assert!(order.is_sorted());
    let whole = server.client().await;
    let costs = async |of: &str| {
        let query = secure_connect_reports::client::CostsQuery {
            organization_id: ORG.parse().unwrap(),
            tenant_id: None,
            months: secure_connect_reports::model::MonthRange::single(of.parse().unwrap()),
            as_of: None,
            current: false,
        };
        whole.clone().monthly_costs(&query).await.unwrap().totals[0].cost.clone()
    };
    assert_eq!(
        [&compared.summary.base_cost, &compared.summary.target_cost],
        [&costs("2022-02").await, &costs("2022-03").await]
    );
    let messages = messages(&server, request(side("2022-02"), side("2022-03"))).await.unwrap();
    assert!(messages.len() >= 4, "{}", messages.len());
}
