//! `costs compare`.

use std::path::Path;

use serde_json::Value;

use crate::{
    statements::books::Books,
    support::{
        builder::{CATALOG, GIB, HOURS, ORG, Row, TENANT_2, csv},
        program, run,
    },
};

/// A draft, with sections that do not matter.
const DRAFT: &str = r#"
[[prices]]
meter = "user_hours_essentials"
currency = "USD"
effective_from = "2022-01"
tiers = [{ unit_price = "0.0155" }]
"#;

struct Scene {
    books: Books,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let books = Books::open().await;
        let mut rows = Vec::new();
        for (month, quantity) in [("2022-02", "101"), ("2022-03", "101"), ("2022-04", "300")] {
            rows.push(Row::on(&format!("{month}-01"), quantity));
            rows.push(Row::on(&format!("{month}-01"), "50").with("billingRegion", "NA").of(ORG, TENANT_2));
        }
        rows.push(Row::on("2022-03-01", "1070.25").bandwidth());
        books.database.import(&csv(&rows)).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("draft.toml"), format!("{CATALOG}{DRAFT}")).unwrap();
        Self { books, folder }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, args: &[&str]) -> (bool, String, String) {
        let mut command = program();
        command.current_dir(self.folder()).args(["costs", "compare", "--organization", ORG]).args(args);
        run(command.args(["--server", &self.books.server.url(), "--retry-for", "5"]))
    }

    fn json(&self, args: &[&str]) -> Value {
        let (done, out, log) = self.run(&[args, &["--format", "json"]].concat());
        assert!(done, "{log}");
        serde_json::from_str(&out).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_shows_what_changed_and_totals() {
    let scene = Scene::new().await;
    let (done, out, log) = scene.run(&["--base", "2022-02", "--target", "2022-03", "--top", "0"]);
    assert!(done, "{log}");
    let lines: Vec<String> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "BASE TARGET TENANT METER REGION CHANGE BASE QUANTITY TARGET QUANTITY UNIT BASE COST TARGET COST BY USAGE BY PRICE \
             BY ROUNDING CURRENCY",
            &format!("2022-02 2022-03 acme-hq {GIB} EU new 0 1070.25 GiB 0.00 84.97 84.965 0 0.005 USD"),
            "2022-02 2022-03 TOTAL 1.51 86.48 84.965 0 0.005 USD",
        ]
    );
    assert_eq!(log, "2 lines are unchanged and not shown\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_csv_have_every_line() {
    let scene = Scene::new().await;
    let json = scene.json(&["--base", "2022-02", "--target", "2022-03", "--tenant", "acme-hq"]);
    let line = &json["lines"][0];
    let found = ["baseCost", "targetCost", "usageEffect", "priceEffect", "roundingEffect"].map(|name| &line[name]);
    assert_eq!(found, ["0.00", "84.97", "84.965", "0", "0.005"]);
    assert_eq!([&line["kind"], &line["meterName"], &line["billingRegion"]], ["NEW", GIB, "EU"]);
    assert_eq!((json["lines"][1]["kind"].as_str(), json["lines"].as_array().unwrap().len()), (Some("UNCHANGED"), 2));
    assert_eq!(json["totals"][0]["newCount"], 1);
    assert_eq!(json["totals"][0]["base"]["state"], "OPEN");
    assert_eq!((&json["total"]["targetCost"], &json["total"]["currency"]), (&"85.98".into(), &"USD".into()));

    let (done, out, _) = scene.run(&["--base", "2022-02", "--target", "2022-03", "--format", "csv"]);
    assert!(done);
    let mut csv = csv::Reader::from_reader(out.as_bytes());
    assert_eq!(
        csv.headers().unwrap().iter().collect::<Vec<_>>().join(","),
        "baseMonth,targetMonth,organizationId,tenantId,tenantName,plan,meterName,meterId,unit,billingRegion,kind,baseQuantity,\
         targetQuantity,baseCost,targetCost,usageEffect,priceEffect,roundingEffect,currency,baseUnpriced,targetUnpriced"
    );
    let kinds: Vec<String> = csv.records().map(|record| record.unwrap()[10].to_owned()).collect();
    assert_eq!(kinds, ["NEW", "UNCHANGED", "UNCHANGED"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_tried_over_several_months_of_one_moment() {
    let scene = Scene::new().await;
    std::fs::write(scene.folder().join("draft.toml"), DRAFT).unwrap();
    let what_if = ["--target", "2022-02", "--to", "2022-04", "--prices", "draft.toml"];
    let json = scene.json(&what_if);
    let totals = json["totals"].as_array().unwrap();
    let months: Vec<_> = totals.iter().map(|total| (&total["base"]["month"], &total["target"]["month"])).collect();
    let expected = ["2022-02", "2022-03", "2022-04"].map(Value::from);
    assert_eq!(months, expected.each_ref().map(|month| (month, month)));
    // 101 × 0.0155 = 1.5655, 50 × 0.0155 = 0.775, 300 × 0.0155 = 4.65.
    let costs: Vec<_> =
        totals.iter().map(|total| [&total["baseCost"], &total["targetCost"], &total["priceEffect"]]).collect();
    assert_eq!(costs, [["1.51", "2.35", "0.8305"], ["86.48", "87.32", "0.8305"], ["3.50", "5.43", "1.925"]]);
    assert_eq!([&json["total"]["baseCost"], &json["total"]["targetCost"]], ["91.49", "95.10"]);
    assert!(totals.iter().all(|total| total["target"]["draft"] == true && total["base"]["draft"] == false));
    let moments: std::collections::BTreeSet<_> = totals
        .iter()
        .flat_map(|total| [&total["base"], &total["target"]])
        .map(|side| side["asOf"].to_string())
        .collect();
    assert_eq!(moments.len(), 1, "{moments:?}");
    // Two ranges go along side by side.
    let json = scene.json(&["--base", "2022-02", "--target", "2022-03", "--to", "2022-04"]);
    let months: Vec<_> =
        json["totals"].as_array().unwrap().iter().map(|total| total["base"]["month"].clone()).collect();
    assert_eq!(months, ["2022-02", "2022-03"]);
    let (done, out, log) = scene.run(&[&what_if[..], &["--top", "0"]].concat());
    assert!(done && out.lines().count() == 11, "{out}");
    assert_eq!(log, "1 lines are unchanged and not shown\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_compared_with_now() {
    let scene = Scene::new().await;
    scene.books.close("2022-02").await;
    scene.books.database.import_from("late", &csv(&[Row::on("2022-02-03", "10")])).await;
    let json = scene.json(&["--base", "2022-02", "--target", "2022-02", "--target-current"]);
    assert_eq!([&json["total"]["baseCost"], &json["total"]["targetCost"]], ["1.51", "1.61"]);
    let asset = &json["assets"][0];
    let found = ["assetType", "assetId", "baseCost", "targetCost", "difference", "baseMonth"].map(|name| &asset[name]);
    assert_eq!(found, ["USER", "joe@email.com", "1.01", "1.11", "0.10", "2022-02"]);
    let (_, out, _) = scene.run(&["--base", "2022-02", "--target", "2022-02", "--target-current"]);
    let row = out.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(row, "2022-02 2022-02 acme-hq USER joe@email.com Joe 1.01 1.11 0.10 USD");
    let total = &json["totals"][0];
    assert_eq!(
        (&total["base"]["statementNumber"], &total["target"]["statementNumber"]),
        (&"2022-02-000001".into(), &Value::Null)
    );
    let before = total["base"]["asOf"].as_str().unwrap().to_owned();
    scene.books.database.import_from("late", &csv(&[Row::on("2022-02-03", "30")])).await;
    let args =
        ["--base", "2022-02", "--base-as-of", &before, "--base-current", "--target", "2022-02", "--target-current"];
    assert_eq!(scene.json(&args)["lines"][0]["usageEffect"], "0.2");
    // A draft takes the place of the bill that it is compared with.
    std::fs::write(scene.folder().join("draft.toml"), DRAFT).unwrap();
    let json = scene.json(&["--target", "2022-02", "--target-current", "--prices", "draft.toml"]);
    // 131 × 0.01 and × 0.0155, with 50 of the other tenant.
    assert_eq!([&json["total"]["baseCost"], &json["total"]["targetCost"]], ["1.81", "2.81"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_ignored_is_said() {
    let scene = Scene::new().await;
    let (done, _, log) = scene.run(&["--target", "2022-02", "--prices", "draft.toml", "--top", "0"]);
    // The same price is there twice, by the catalog and by the draft.
    assert!(!done && log.contains("draft.toml: prices[2]: has the same meter"), "{log}");
    let draft = CATALOG.replace("\"0.01\"", "\"0.02\"");
    std::fs::write(scene.folder().join("draft.toml"), draft).unwrap();
    let (done, out, log) = scene.run(&["--target", "2022-02", "--prices", "draft.toml", "--top", "0"]);
    assert!(done && out.contains("changed"), "{out}{log}");
    assert_eq!(
        log,
        "note: draft.toml: 2 organizations and 3 tenants are ignored; prices count, and which meters are charged\n"
    );
    let unknown = DRAFT.replace(HOURS, "nothing");
    std::fs::write(scene.folder().join("draft.toml"), unknown).unwrap();
    let (done, _, log) = scene.run(&["--target", "2022-02", "--prices", "draft.toml"]);
    assert!(!done && log.contains("target.draft.prices[0].meter: \"nothing\": there is no such meter"), "{log}");
    let (done, _, log) = scene.run(&["--target", "2022-02"]);
    assert!(!done && log.contains("--base <YYYY-MM>"), "{log}");
    let (done, _, log) = scene.run(&["--base", "2022-02", "--target", "2022-03", "--to", "2022-02"]);
    assert!(!done && log.contains("--to: the last month (2022-02) is before the first (2022-03)"), "{log}");
    // Before January 2022 there are no prices.
    scene.books.database.import(&csv(&[Row::on("2021-12-01", "5")])).await;
    let (done, out, log) = scene.run(&["--base", "2021-12", "--target", "2022-02", "--top", "0"]);
    assert!(done && out.contains("no price"), "{out}");
    assert!(
        log.contains(&format!("warning: no price of the base in USD covers {HOURS} in EU (2021-12, tenant ")),
        "{log}"
    );
}

/// A variable of `costs` asks for nothing more, and `costs` goes on as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_those_of_both_commands() {
    let scene = Scene::new().await;
    let url = scene.books.server.url();
    let variables = [("SCR_ORGANIZATION", ORG), ("SCR_MONTH", "2022-02"), ("SCR_SERVER", url.as_str())];
    let variables =
        [&variables[..], &[("SCR_BASE", "2022-02"), ("SCR_TARGET", "2022-03"), ("SCR_FORMAT", "json")]].concat();
    let (done, out, log) = run(program().args(["costs", "compare"]).envs(variables.clone()));
    assert!(done, "{log}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["total"]["targetCost"], "86.48");
    let (done, out, log) = run(program().arg("costs").envs(variables));
    assert!(done, "{log}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["totals"][0]["cost"], "1.51");
}
