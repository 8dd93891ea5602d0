//! What changes of a closed month is on the bill of the first open one.

use secure_connect_reports::contract::proto::{BillState, GetMonthlyCostsRequest};

use super::books::{Books, request, short};
use crate::support::builder::{CATALOG, GIB, HOURS, ORG, Row, TENANT, TENANT_2, csv};

#[tokio::test]
async fn late_usage_is_on_the_next_bill_and_then_on_no_other() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-03-01", "200")])).await;
    books.close("2022-02").await;
    assert_eq!(books.costs("2022-03", "2022-03").await.adjustments, []);
    // A new day, and a new meter.
    books.database.import(&csv(&[Row::on("2022-02-02", "50"), Row::on("2022-02-02", "150").bandwidth()])).await;
    let march = books.costs("2022-03", "2022-03").await;
    let expected = [("2022-02".to_owned(), GIB, "0.00", "8.50"), ("2022-02".to_owned(), HOURS, "1.00", "0.50")];
    assert_eq!(short(&march.adjustments), expected);
    let total = &march.totals[0];
    assert_eq!((total.cost.as_str(), total.adjustment.as_str(), total.amount_due.as_str()), ("2.00", "9.00", "11.00"));
    assert_eq!(total.state(), BillState::Open);
    assert_eq!(books.costs("2022-04", "2022-04").await.adjustments, [], "on one bill only");
    books.check_reconciled("2022-02", "2022-02", "2022-03").await;
    books.close("2022-03").await;
    let closed = books.costs("2022-03", "2022-03").await;
    assert_eq!((&closed.lines, &closed.adjustments), (&march.lines, &march.adjustments));
    assert_eq!(closed.totals[0].amount_due, "11.00");
    assert_eq!(books.costs("2022-04", "2022-04").await.adjustments, []);
    // It is withdrawn again: what was billed is paid back.
    books.database.import(&csv(&[Row::on("2022-02-02", "50")])).await;
    let april = books.costs("2022-04", "2022-04").await;
    assert_eq!(short(&april.adjustments), [("2022-02".to_owned(), GIB, "8.50", "-8.50")]);
    let line = april.adjustments[0].line.as_ref().unwrap();
    assert_eq!((line.quantity.as_str(), line.cost.as_str(), line.record_count), ("0", "0.00", 0));
    books.check_reconciled("2022-02", "2022-03", "2022-04").await;
}

#[tokio::test]
async fn a_price_that_is_corrected_adjusts_the_months_that_it_is_of() {
    let books = Books::open().await;
    let rows = ["2022-01", "2022-02", "2022-03"].map(|month| Row::on(&format!("{month}-01"), "1000"));
    books.database.import(&csv(&rows)).await;
    for month in ["2022-01", "2022-02"] {
        books.close(month).await;
    }
    let price = |from: &str, price: &str| {
        format!(
            "[[prices]]\nmeter = \"{HOURS}\"\ncurrency = \"USD\"\neffective_from = \"{from}\"\n\
             tiers = [{{ unit_price = \"{price}\" }}]\n"
        )
    };
    books.database.apply(&price("2022-02", "0.03")).await;
    let march = books.costs("2022-03", "2022-03").await;
    assert_eq!(short(&march.adjustments), [("2022-02".to_owned(), HOURS, "10.00", "20.00")]);
    assert_eq!(march.totals[0].amount_due, "50.00");
    // Corrected back before it is billed: nothing is left.
    books.database.apply(&price("2022-02", "0.01")).await;
    assert_eq!(books.costs("2022-03", "2022-03").await.adjustments, []);
    books.database.apply(&price("2022-01", "0.02")).await;
    let march = books.costs("2022-01", "2022-03").await;
    assert_eq!(short(&march.adjustments), [("2022-01".to_owned(), HOURS, "10.00", "10.00")]);
    books.check_reconciled("2022-01", "2022-02", "2022-03").await;
    // No longer charged at all, from the beginning on.
    books.database.apply(&CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false")).await;
    let march = books.costs("2022-03", "2022-03").await;
    let expected = ["2022-01", "2022-02"].map(|month| (month.to_owned(), HOURS, "10.00", "-10.00"));
    assert_eq!(short(&march.adjustments), expected);
    books.check_reconciled("2022-01", "2022-02", "2022-03").await;
}

#[tokio::test]
async fn one_tenant_of_a_bill_has_its_own_lines_adjustments_and_totals() {
    let books = Books::open().await;
    let both = [Row::on("2022-02-01", "100"), Row::on("2022-02-01", "300").of(ORG, TENANT_2)];
    books.database.import(&csv(&both)).await;
    books.close("2022-02").await;
    books.database.import(&csv(&[Row::on("2022-02-02", "700"), Row::on("2022-02-02", "500").of(ORG, TENANT_2)])).await;
    for (tenant, cost, adjustment) in [(TENANT, "1.00", "7.00"), (TENANT_2, "3.00", "5.00")] {
        let of_tenant = GetMonthlyCostsRequest { tenant_id: tenant.to_owned(), ..request("2022-02", "2022-03") };
        let bill = books.try_costs(of_tenant).await.unwrap();
        assert!(bill.lines.iter().all(|line| line.tenant_id == tenant));
        assert_eq!((bill.lines.len(), bill.adjustments.len()), (1, 1));
        let totals = [&bill.totals[0].amount_due, &bill.totals[1].amount_due];
        assert_eq!(totals, [cost, adjustment]);
    }
}

#[tokio::test]
async fn pages_have_each_line_and_adjustment_once() {
    let books = Books::open().await;
    let mut rows = Vec::new();
    for month in ["2022-02", "2022-03"] {
        for region in ["AF", "AP", "EU", "NA"] {
            rows.push(Row::on(&format!("{month}-01"), "100").with("billingRegion", region));
            rows.push(Row::on(&format!("{month}-01"), "100").with("billingRegion", region).of(ORG, TENANT_2));
        }
    }
    books.database.import(&csv(&rows)).await;
    books.close("2022-02").await;
    let late = |row: Row| row.with("start", "2022-02-05T00:00:00Z").with("end", "2022-02-05T01:00:00Z");
    books.database.import(&csv(&rows[..8].iter().cloned().map(late).collect::<Vec<_>>())).await;
    books.close("2022-03").await;
    let late = |row: Row| row.with("start", "2022-02-06T00:00:00Z").with("end", "2022-02-06T01:00:00Z");
    books.database.import(&csv(&rows[..8].iter().cloned().map(late).collect::<Vec<_>>())).await;
    books.database.import(&csv(&[Row::on("2022-04-01", "100")])).await;
    let whole = books.costs("2022-02", "2022-04").await;
    assert_eq!((whole.lines.len(), whole.adjustments.len()), (17, 16));
    for page_size in [1, 2, 3, 7, 16, 32, 33] {
        let mut paged = whole.clone();
        (paged.lines, paged.adjustments) = (Vec::new(), Vec::new());
        let mut page_token = String::new();
        loop {
            let request = GetMonthlyCostsRequest { page_size, page_token, ..request("2022-02", "2022-04") };
            let page = books.try_costs(request).await.unwrap();
            assert!(page.lines.len() + page.adjustments.len() <= usize::try_from(page_size).unwrap());
            assert_eq!(page.totals, whole.totals);
            paged.lines.extend(page.lines);
            paged.adjustments.extend(page.adjustments);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole, "{page_size}");
    }
}
