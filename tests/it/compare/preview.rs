//! `catalog apply`, with and without `--preview`: what it would do to bills, and what it does.

use secure_connect_reports::contract::proto::{CostBasis, GetMonthlyCostsRequest};

use crate::{
    statements::books::{Books, request},
    support::{
        builder::{CATALOG, GIB, HOURS, ORG, ORG_EUR, Row, TENANT_2, TENANT_EUR, csv},
        program, run,
    },
};

struct Scene {
    books: Books,
    folder: tempfile::TempDir,
}

impl Scene {
    /// February is closed in dollars, March is open.
    async fn new() -> Self {
        let books = Books::open().await;
        let mut rows = Vec::new();
        for (month, quantity) in [("2022-02", "100"), ("2022-03", "300")] {
            rows.push(Row::on(&format!("{month}-01"), quantity));
            rows.push(Row::on(&format!("{month}-01"), quantity).of(ORG, TENANT_2).with("billingRegion", "NA"));
            rows.push(Row::on(&format!("{month}-01"), "1070.25").bandwidth());
            rows.push(Row::on(&format!("{month}-01"), "10").of(ORG_EUR, TENANT_EUR));
        }
        books.database.import(&csv(&rows)).await;
        books.close("2022-02").await;
        Self { books, folder: tempfile::tempdir().unwrap() }
    }

    /// Applies a file, or shows what that would do.
    fn apply(&self, catalog: &str, more: &[&str]) -> (bool, String, String) {
        std::fs::write(self.folder.path().join("file.toml"), catalog).unwrap();
        let mut command = program();
        command.current_dir(self.folder.path()).env("DATABASE_URL", &self.books.database.url);
        run(command.args(["catalog", "apply", "file.toml"]).args(more))
    }

    /// Everything that is stored, but for usage.
    async fn stored(&self) -> String {
        let tables = "organization, tenant, meter, uncharged_meter, price, price_tier, statement, publication_clock";
        let mut all = String::new();
        for table in tables.split(", ") {
            let sql = format!("SELECT coalesce(string_agg(t::text, ';' ORDER BY t::text), '') FROM {table} t");
            all += &self.books.database.sql().await.query_one(&sql, &[]).await.unwrap().get::<_, String>(0);
        }
        all
    }

    /// What the months cost now, closed or not.
    async fn costs(&self, organization: &str) -> Vec<String> {
        let request = GetMonthlyCostsRequest {
            organization_id: organization.to_owned(),
            basis: CostBasis::Current.into(),
            ..request("2022-02", "2022-03")
        };
        let costs = self.books.try_costs(request).await.unwrap();
        costs.totals.into_iter().map(|total| total.cost).collect()
    }
}

fn price(meter: &str, currency: &str, from: &str, unit_price: &str) -> String {
    format!(
        "[[prices]]\nmeter = \"{meter}\"\ncurrency = \"{currency}\"\neffective_from = \"{from}\"\n\
         tiers = [{{ unit_price = \"{unit_price}\" }}]\n"
    )
}

/// The words of each line.
fn lines(out: &str) -> Vec<String> {
    out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_shows_what_applying_then_does_and_stores_nothing() {
    let scene = Scene::new().await;
    let file = [price(HOURS, "USD", "2022-01", "0.02"), price(HOURS, "EUR", "2022-03", "3")].concat();
    let stored = scene.stored().await;
    let (dollars, euros) = (scene.costs(ORG).await, scene.costs(ORG_EUR).await);
    let (done, out, log) = scene.apply(&file, &["--preview", "2022-02..2022-03"]);
    assert!(done, "{log}");
    assert_eq!(
        lines(&out),
        [
            "organizations 0 created 0 updated 0 unchanged",
            "tenants 0 created 0 updated 0 unchanged",
            "meters 0 created 0 updated 0 unchanged",
            "prices 1 created 1 updated 0 unchanged",
            "",
            "ORGANIZATION MONTH STATE COSTS NOW WITH THE FILE DIFFERENCE CURRENCY",
            "Acme 2022-02 closed 86.97 88.97 2.00 USD",
            "Acme 2022-03 open 90.97 96.97 6.00 USD",
            "Zeta 2022-03 open 0.00 30.00 30.00 EUR",
            "TOTAL 0.00 30.00 30.00 EUR",
            "TOTAL 177.94 185.94 8.00 USD",
            "",
            "The lines that would move most:",
            "ORGANIZATION TENANT MONTH METER REGION COSTS NOW WITH THE FILE DIFFERENCE CURRENCY",
            &format!("Zeta zeta-hq 2022-03 {HOURS} EU no price 30.00 30.00 EUR"),
            &format!("Acme acme-hq 2022-03 {HOURS} EU 3.00 6.00 3.00 USD"),
            &format!("Acme acme-lab 2022-03 {HOURS} NA 3.00 6.00 3.00 USD"),
            &format!("Acme acme-hq 2022-02 {HOURS} EU 1.00 2.00 1.00 USD"),
            &format!("Acme acme-lab 2022-02 {HOURS} NA 1.00 2.00 1.00 USD"),
        ]
    );
    let notes = [
        "note: nothing is stored; this is what the file would do",
        "note: 1 of these months are closed, of 1 organizations: their statements stay, and adjustments follow on the bills of \
         their first open months",
        "2022-02 to 2022-03: 3 months of organizations would cost something else, 1 the same",
    ];
    assert_eq!(log.lines().collect::<Vec<_>>(), notes);
    assert_eq!(scene.stored().await, stored);
    assert_eq!((scene.costs(ORG).await, scene.costs(ORG_EUR).await), (dollars, euros));

    // Then it is applied.
    let (done, _, log) = scene.apply(&file, &[]);
    assert!(done, "{log}");
    let note = "note: 1 organizations have closed months that these prices are of (2022-02 to 2022-02): their statements stay, and \
                where usage costs something else now, adjustments follow on the bills of their first open months\n";
    assert_eq!(log, note);
    assert_eq!(scene.costs(ORG).await, ["88.97", "96.97"]);
    assert_eq!(scene.costs(ORG_EUR).await, ["0.00", "30.00"]);
    let march = scene.books.costs("2022-02", "2022-03").await;
    assert_eq!((march.totals[0].cost.as_str(), march.totals[1].adjustment.as_str()), ("86.97", "2.00"));
    let (done, out, log) = scene.apply(&file, &["--preview", "2022-03"]);
    assert!(done && lines(&out)[3] == "prices 0 created 0 updated 2 unchanged", "{out}");
    assert!(
        log.ends_with("2022-03 to 2022-03: 0 months of organizations would cost something else, 2 the same\n"),
        "{log}"
    );
    let (done, _, log) = scene.apply(&file, &[]);
    assert!(done && log.is_empty(), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_have_no_price_any_more_is_named() {
    let scene = Scene::new().await;
    let meter = CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false");
    assert!(scene.apply(&meter, &[]).0);
    // Charged again, it has a price in dollars, and none in euros.
    let (done, out, log) = scene.apply(CATALOG, &["--preview", "2022-03"]);
    assert!(done, "{log}");
    assert!(out.contains("Acme"), "{out}");
    let warning =
        format!("warning: no price in EUR would cover {HOURS} in EU any more (2022-03, tenant zeta-hq of Zeta)");
    assert!(log.contains(&warning), "{log}");
    assert_eq!(log.matches("warning").count(), 1, "{log}");
    // A meter that is charged otherwise is of all currencies and months.
    let (done, _, log) = scene.apply(CATALOG, &[]);
    assert!(
        done && log.contains("1 organizations have closed months that these prices are of (2022-02 to 2022-02)"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adjustments_follow_where_closed_months_have_such_usage() {
    let scene = Scene::new().await;
    let is_noted = |catalog: &str| {
        let (done, _, log) = scene.apply(catalog, &[]);
        assert!(done, "{log}");
        log.contains("adjustments follow")
    };
    assert!(!is_noted(&price(HOURS, "USD", "2022-03", "5")), "an open month");
    assert!(!is_noted(&price(HOURS, "EUR", "2022-01", "5")), "a currency whose months are open");
    let in_africa =
        price(HOURS, "USD", "2022-01", "5").replace("effective_from", "billing_region = \"AF\"\neffective_from");
    assert!(!is_noted(&in_africa), "a region without usage");
    assert!(is_noted(&price(GIB, "USD", "2022-02", "5")));
    assert!(!is_noted(
        &CATALOG.replace("\"Acme\"", "\"Acme Inc.\"").replace(&CATALOG[CATALOG.find("[[meters]]").unwrap()..], "")
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_applied_has_no_preview() {
    let scene = Scene::new().await;
    let stored = scene.stored().await;
    let (done, out, log) = scene.apply(&price("nothing", "USD", "2022-02", "1"), &["--preview", "2022-02"]);
    assert!(!done && out.is_empty(), "{out}");
    assert!(
        log.contains("prices[0].meter: \"nothing\": there is no such meter, in the file or in the database"),
        "{log}"
    );
    let renamed = CATALOG.replace(HOURS, "hours");
    let (done, _, log) = scene.apply(&renamed, &["--preview", "1"]);
    assert!(!done && log.contains("the meter has usage as user_hours_essentials in hour"), "{log}");
    let (done, _, log) = scene.apply(CATALOG, &["--preview", "2022-02..2022-01"]);
    assert!(!done && log.contains("the last month (2022-01) is before the first (2022-02)"), "{log}");
    // A meter that is new has no usage, and a number of months ends with the present one.
    let new = "[[meters]]\nid = \"cccccccc-0000-4000-8000-0000000000ff\"\nname = \"new\"\nunit = \"hour\"\n";
    let (done, out, log) = scene.apply(&[new, &price("new", "USD", "2022-01", "1")].concat(), &["--preview", "2"]);
    assert!(done && out.contains("meters             1 created"), "{out}{log}");
    assert!(log.ends_with("0 months of organizations would cost something else, 0 the same\n"), "{log}");
    assert_eq!(scene.stored().await, stored);
}
