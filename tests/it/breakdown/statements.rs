//! What parts of a closed month cost: shares of what its statement has billed.

use secure_connect_reports::{client::BreakdownQuery, model::CostGroup};

use super::{ask, query, short};
use crate::{
    statements::books::Books,
    support::{
        builder::{CATALOG, ORG, Row, TENANT_2, csv},
        program, run,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_month_is_shared_as_it_was_billed() {
    let books = Books::open().await;
    let mut rows = vec![
        Row::on("2022-02-01", "100").asset("a"),
        Row::on("2022-02-02", "250").asset("b"),
        Row::on("2022-02-02", "70").of(ORG, TENANT_2).asset("c"),
        Row::on("2022-03-01", "10").asset("a"),
    ];
    books.database.import(&csv(&rows)).await;
    let asset = |first: &str, last: &str, current| BreakdownQuery {
        months: secure_connect_reports::model::MonthRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap(),
        current,
        ..query(ORG, &[CostGroup::Asset])
    };
    let open = ask(&books.server, &asset("2022-02", "2022-02", false)).await.unwrap();
    books.close("2022-02").await;
    // A day is restated, another one is late, a price is corrected, and tenants change places.
    rows[0] = Row::on("2022-02-01", "400").asset("a");
    books.database.import(&csv(&rows[..1])).await;
    books.database.import_from("late", &csv(&[Row::on("2022-02-09", "30").asset("d")])).await;
    books.database.apply(&CATALOG.replace("\"acme-hq\"", "\"zz-hq\"").replace("\"0.01\"", "\"0.02\"")).await;
    let closed = ask(&books.server, &asset("2022-02", "2022-02", false)).await.unwrap();
    assert_eq!((&closed.rows, &closed.totals, &closed.revisions), (&open.rows, &open.totals, &open.revisions));
    assert_eq!(short(&closed.rows), ["USER a Joe: 100 0 1.00", "USER b Joe: 250 0 2.50", "USER c Joe: 70 0 0.70"]);
    assert_eq!(closed.totals[0].cost, books.costs("2022-02", "2022-02").await.totals[0].cost);
    // A statement's months come first, under the names of then.
    let both = ask(&books.server, &asset("2022-02", "2022-03", false)).await.unwrap();
    assert_eq!(both.rows[..3], closed.rows);
    assert_eq!(
        (short(&both.rows[3..]), both.rows[3].tenant_name.as_str()),
        (vec!["USER a Joe: 10 0 0.20".to_owned()], "zz-hq")
    );
    // What is adjusted is not shared, and a note says so.
    let mut command = program();
    command.args(["costs", "--organization", ORG, "--month", "2022-02", "--to", "2022-03", "--by", "asset"]);
    let (ok, _, log) = run(command.args(["--server", &books.server.url()]));
    let adjustment = books.costs("2022-03", "2022-03").await.totals[0].adjustment.clone();
    let note = format!("note: the bill of 2022-03 has adjustments of {adjustment} USD besides, which are not shared");
    assert!(ok && log.starts_with(&note) && log.lines().count() == 1, "{log}");
    // As it would cost now.
    let now = ask(&books.server, &asset("2022-02", "2022-02", true)).await.unwrap();
    let expected =
        ["USER c Joe: 70 0 1.40", "USER a Joe: 400 0 8.00", "USER b Joe: 250 0 5.00", "USER d Joe: 30 0 0.60"];
    assert_eq!(short(&now.rows), expected);
    assert_eq!(now.totals[0].cost, books.current("2022-02", "2022-02").await.totals[0].cost);
    // What a statement has billed is kept.
    let rules = secure_connect_reports::store::PurgeRules {
        superseded_for: Some(std::time::Duration::ZERO),
        months_before: None,
    };
    let skew = std::time::Duration::from_secs(300);
    secure_connect_reports::store::purge(&books.database.url, rules, skew, false).await.unwrap();
    let kept = ask(&books.server, &asset("2022-02", "2022-02", false)).await.unwrap();
    assert_eq!(kept.rows, closed.rows);
}

/// More lines than a statement is read by at once.
#[tokio::test]
async fn a_statement_of_many_lines_is_shared_whole() {
    let books = Books::open().await;
    let tenant = |n: usize| format!("bbbbbbbb-2222-4000-8000-{n:012}");
    let mut catalog = String::new();
    let mut rows = Vec::new();
    for n in 0..90 {
        catalog += &format!(
            "[[tenants]]\nid = \"{}\"\norganization_id = \"{ORG}\"\nname = \"t{n:03}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n",
            tenant(n)
        );
        for region in ["AF", "AP", "EU", "NA"] {
            let row = Row::on("2022-02-01", "100").with("billingRegion", region).of(ORG, &tenant(n));
            rows.extend([row.clone().asset("a"), row.asset("b")]);
        }
    }
    books.database.apply(&catalog).await;
    books.database.import(&csv(&rows)).await;
    let open = ask(&books.server, &query(ORG, &[CostGroup::Asset])).await.unwrap();
    assert_eq!((open.rows.len(), open.totals[0].cost.as_str()), (720, "720.00"));
    books.close("2022-02").await;
    let closed = ask(&books.server, &query(ORG, &[CostGroup::Asset])).await.unwrap();
    assert_eq!((closed.rows, closed.totals, closed.revisions), (open.rows, open.totals, open.revisions));
    let subject = secure_connect_reports::model::BillSubject::Tenant(tenant(41).parse().unwrap());
    let one = ask(&books.server, &BreakdownQuery { subject, ..query(ORG, &[]) }).await.unwrap();
    assert_eq!((one.rows.len(), one.totals[0].cost.as_str()), (4, "8.00"));
}
