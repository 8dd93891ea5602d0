//! `costs` with parts and tiers, as people and spreadsheets see them.

use std::{collections::BTreeMap, process::Command};

use num_bigint::BigInt;
use num_rational::BigRational;

use super::example;
use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB_ID, HOURS_ID, ORG, Row, TENANT, TENANT_2, csv},
    program, run,
    terminal::on_terminal,
};

fn costs(server: &Server, more: &[&str]) -> Command {
    let mut command = program();
    command.args(["costs", "--organization", ORG, "--month", "2022-02"]).args(more).args(["--server", &server.url()]);
    command
}

fn shown(server: &Server, more: &[&str]) -> String {
    let (ok, out, log) = run(&mut costs(server, more));
    assert!(ok, "{more:?}: {log}");
    out
}

/// The columns of a line before and behind those of groups.
fn line(groups: &str, amounts: &str) -> String {
    format!("2022-02,{ORG},{TENANT},acme-hq,essentials,bandwidth_gib_essentials,{GIB_ID},GiB,EU,{groups}{amounts}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_has_the_columns_of_lines_with_those_of_groups_behind_the_region() {
    const FRONT: &str = "month,organizationId,tenantId,tenantName,plan,meterName,meterId,unit,billingRegion,";
    const BACK: &str = "quantity,trialQuantity,cost,currency,recordCount\n";
    let database = Database::with_catalog().await;
    database.import(&csv(&example())).await;
    let server = database.serve();
    let csv = |by: &[&str]| shown(&server, &[by, &["--format", "csv"]].concat());
    let bill = format!("{},billingMonth,amount\n", BACK.trim_end());
    assert_eq!(csv(&[]), format!("{FRONT}{bill}{}", line("", "1070.25,9.5,84.97,USD,5,2022-02,84.97")));
    let types = [line("GATEWAY,", "0,7.5,0.00,USD,1"), line("ENDPOINT,", "1070.25,2,84.97,USD,4")];
    assert_eq!(csv(&["--by", "asset-type"]), format!("{FRONT}assetType,{BACK}{}", types.concat()));
    let all = [
        line("GATEWAY,gw-1,Gate,2022-02-02,,", "0,7.5,0.00,USD,1"),
        line("ENDPOINT,ep-0001,Front desk,2022-02-01,azure,", "31.25,0,2.48,USD,1"),
        line("ENDPOINT,ep-0001,Front desk,2022-02-02,azure,", "640.5,0,50.85,USD,1"),
        line("ENDPOINT,ep-0002,Lab,2022-02-01,mcp,", "398.5,0,31.64,USD,1"),
        line("ENDPOINT,ep-0002,Lab,2022-02-02,mcp,", "0,2,0.00,USD,1"),
    ];
    let expected = format!("{FRONT}assetType,assetId,assetName,usageDay,platform,{BACK}{}", all.concat());
    assert_eq!(csv(&["--by", "platform,asset,day,asset-type"]), expected);
    assert_eq!(csv(&["--by", "day", "--by", "ASSET", "--by", "platform"]), expected);
    let filtered = csv(&["--by", "asset,day", "--asset-id", "ep-0001", "--meter", "bandwidth_gib_essentials"]);
    assert_eq!(filtered.lines().count(), 3);
}

/// The same texts in the same cells as the detailed report writes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_has_the_texts_of_the_detailed_report() {
    let names =
        ["=1+1", "+cmd", "-12.5", "a,b", "say \"=x\"", "=\"a,b\"", "two\nlines", "\r", "東京", "", " =x", "\u{ff1d}1"];
    let database = Database::with_catalog().await;
    let row = |(n, name): (usize, &&str)| Row::on("2022-02-01", "1").asset(&format!("{n:02}")).with("assetName", name);
    let mut rows: Vec<Row> = names.iter().enumerate().map(row).collect();
    rows.push(Row::on("2022-02-01", "1").asset("@id"));
    database.import(&csv(&rows)).await;
    let server = database.serve();
    for more in [&[][..], &["--neutralize-formulas"]] {
        let mut usage = program();
        usage
            .args(["usage", "--tenant", TENANT, "--month", "2022-02", "-o", "-", "--server", &server.url()])
            .args(more);
        let (ok, detail, log) = run(&mut usage);
        assert!(ok, "{log}");
        let found = shown(&server, &[&["--by", "asset", "--format", "csv"], more].concat());
        // By the bytes between the cells around them.
        let cells = |text: &str, before: &str, behind: &str| -> Vec<String> {
            let parts = text.split(before).skip(1);
            parts.map(|part| part.split(behind).next().unwrap().to_owned()).collect()
        };
        let detail = cells(&detail, &format!("{TENANT},"), ",USER,");
        let parts = cells(&found, ",EU,USER,", ",1,0,0.01,");
        assert_eq!(detail.len(), rows.len());
        // The detail has names before ids.
        let mut expected: Vec<(String, String)> = detail
            .iter()
            .map(|cells| {
                let (name, id) = cells.rsplit_once(',').unwrap();
                (id.to_owned(), name.to_owned())
            })
            .collect();
        expected.sort_by_key(|(id, _)| id.trim_start_matches('\'').to_owned());
        let parts: Vec<(String, String)> = parts
            .iter()
            .map(|cells| {
                let (id, name) = cells.split_once(',').unwrap();
                (id.to_owned(), name.to_owned())
            })
            .collect();
        assert_eq!(parts, expected, "{more:?}");
        assert_eq!(parts.iter().any(|(_, name)| name == "'=1+1"), !more.is_empty());
    }
    // Names of tenants, too.
    database.apply(&CATALOG.replace("acme-hq", "=acme")).await;
    for (more, name) in
        [(&["--format", "csv"][..], ",=acme,"), (&["--format", "csv", "--neutralize-formulas"], ",'=acme,")]
    {
        assert!(shown(&server, more).contains(name));
        assert!(shown(&server, &[more, &["--tiers"]].concat()).contains(name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_gets_bars_and_others_do_not() {
    let database = Database::with_catalog().await;
    let mut usage = example();
    usage.push(Row::on("2022-02-01", "4248.5").asset("a"));
    database.import(&csv(&usage)).await;
    let server = database.serve();
    let by = ["--by", "day"];
    let plain = "\
\u{20}MONTH    TENANT   METER                     REGION  DAY         QUANTITY  TRIAL  UNIT    COST  CURRENCY
 2022-02  acme-hq  bandwidth_gib_essentials  EU      2022-02-01    429.75      0  GiB    34.12  USD
 2022-02  acme-hq  bandwidth_gib_essentials  EU      2022-02-02     640.5    9.5  GiB    50.85  USD
 2022-02  acme-hq  user_hours_essentials     EU      2022-02-01    4248.5      0  hour   42.49  USD
 2022-02  TOTAL                                                                         127.46  USD
";
    assert_eq!(shown(&server, &by), plain);
    let bars = [" ", " █████████████▍", " ████████████████████", " ████████████████▋", ""];
    let expected: String = plain
        .lines()
        .zip(bars)
        .map(|(line, bar)| {
            let line = format!("{line}      {bar}");
            format!("{}\n", line.trim_end())
        })
        .collect();
    assert_eq!(on_terminal(costs(&server, &by)).await, expected);
    // Lines have none.
    assert!(!on_terminal(costs(&server, &[])).await.contains('█'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_names_the_groups_that_were_asked_for() {
    let database = Database::with_catalog().await;
    database.import(&csv(&example())).await;
    let server = database.serve();
    let json = |by: &str| -> serde_json::Value {
        serde_json::from_str(&shown(&server, &["--by", by, "--format", "json"])).unwrap()
    };
    let found = json("platform,asset");
    assert_eq!(found["groupBy"], serde_json::json!(["asset", "platform"]));
    assert_eq!(
        found["rows"][1],
        serde_json::json!({
            "month": "2022-02", "organizationId": ORG, "tenantId": TENANT, "tenantName": "acme-hq", "plan": "essentials",
            "meterName": "bandwidth_gib_essentials", "meterId": GIB_ID, "unit": "GiB", "billingRegion": "EU",
            "assetType": "ENDPOINT", "assetId": "ep-0001", "assetName": "Front desk", "platform": "azure",
            "quantity": "671.75", "trialQuantity": "0", "cost": "53.33", "currency": "USD", "recordCount": 2,
        })
    );
    assert_eq!(found["rows"][0]["platform"], serde_json::Value::Null);
    assert_eq!(found["totals"], serde_json::json!([{ "month": "2022-02", "currency": "USD", "cost": "84.97" }]));
    let report = &found["reports"][0];
    assert_eq!((&report["month"], &report["tenantId"]), (&"2022-02".into(), &TENANT.into()));
    assert_eq!(report["revision"].as_str().unwrap().len(), 64);
    assert!(json("day")["rows"][0].get("assetType").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_do_not_fit_together_are_told() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    for (more, expected) in [
        (&["--tiers"][..], "--tiers needs --format csv"),
        (&["--tiers", "--format", "json"], "--format json shows tiers without it"),
        (&["--tiers", "--format", "csv", "--by", "day"], "--tiers and --by cannot be used together"),
        (&["--asset-id", "a"], "--asset-id needs --by asset"),
        (&["--meter", "a"], "--meter and --region need --by"),
        (&["--region", "EU"], "--meter and --region need --by"),
        (&["--by", "day", "--asset-id", "a"], "--asset-id needs --by asset"),
        (&["--by", "platform", "--asset-type", "USER"], "--asset-type needs --by asset or --by asset-type"),
        (&["--by", "assets"], "not one of asset, day, asset-type, platform"),
        (&["--by", "day", "--meter", "nothing"], "there is no meter \"nothing\""),
    ] {
        let (ok, out, log) = run(&mut costs(&server, more));
        assert!(!ok && out.is_empty(), "{more:?}");
        assert!(log.contains(expected), "{more:?}: {log}");
    }
    // A switch that is off is as good as none.
    let (ok, _, log) = run(costs(&server, &["--by", "day"]).env("SCR_TIERS", "0"));
    assert!(ok, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_without_a_price_gets_a_warning_in_every_format() {
    let database = Database::migrated();
    database.apply(CATALOG.split("[[prices]]").next().unwrap()).await;
    database.import(&csv(&[Row::on("2022-02-01", "2").asset("a"), Row::on("2022-02-01", "3").asset("b")])).await;
    let server = database.serve();
    for format in ["table", "csv", "json"] {
        let (ok, out, log) = run(&mut costs(&server, &["--by", "asset", "--format", format]));
        assert!(ok && !out.is_empty(), "{log}");
        let warning = format!(
            "warning: no price in USD covers the usage of user_hours_essentials in EU (2022-02, tenant {TENANT}); it is not in the total\n"
        );
        assert_eq!(log, warning, "{format}");
    }
}

fn fraction(text: &str) -> BigRational {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let units: BigInt = format!("{whole}{digits}").parse().unwrap();
    BigRational::new(units, BigInt::from(10).pow(u32::try_from(digits.len()).unwrap()))
}

/// Half away from zero, to so many digits.
fn rounded(amount: &BigRational, digits: usize, mode: &str) -> BigRational {
    let scale = BigRational::from_integer(BigInt::from(10).pow(u32::try_from(digits).unwrap()));
    let half = BigRational::new(1.into(), 2.into());
    let up = (amount * &scale + &half).floor();
    let is_tie = &up - amount * &scale == half;
    let is_odd = !(&up * &half).is_integer();
    if mode == "half_even" && is_tie && is_odd {
        (up - BigRational::from_integer(1.into())) / scale
    } else {
        up / scale
    }
}

/// The CSV alone says how each cost comes about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiers_recompute_every_cost() {
    for (currency, digits, mode) in [
        ("JPY", 0, "half_away_from_zero"),
        ("USD", 2, "half_away_from_zero"),
        ("USD", 2, "half_even"),
        ("KWD", 3, "half_away_from_zero"),
    ] {
        let database = Database::migrated();
        // The meter for hours has no price in another region.
        let catalog = CATALOG.replace("\"USD\"", &format!("\"{currency}\"")).replacen(
            "effective_from",
            "billing_region = \"EU\"\neffective_from",
            1,
        );
        database.apply(&catalog.replace("effective_from", &format!("rounding = \"{mode}\"\neffective_from"))).await;
        let mut rows = Vec::new();
        for (n, quantity) in
            ["0.5", "49.999999", "50", "50.0000001", "1000", "1234.56789", "99999.5"].iter().enumerate()
        {
            let month = ["2022-02-01", "2022-03-01"][n % 2];
            let region = ["AF", "AP", "EU", "NA"][n / 2];
            rows.push(Row::on(month, quantity).bandwidth().with("billingRegion", region));
            rows.push(Row::on(month, quantity).with("billingRegion", region).of(ORG, TENANT_2));
        }
        rows.push(Row::on("2022-02-01", "3").bandwidth().with("trial", "TRUE").of(ORG, TENANT_2));
        database.import(&csv(&rows)).await;
        let server = database.serve();
        let more = ["--to", "2022-03", "--format", "csv"];
        let lines = shown(&server, &more);
        let text = shown(&server, &[&more[..], &["--tiers"]].concat());
        let header =
            format!("{},tierFrom,tierTo,tierQuantity,unitPrice,tierAmount,rounding", lines.lines().next().unwrap());
        assert_eq!(text.lines().next(), Some(header.as_str()));

        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let mut found: BTreeMap<usize, (Vec<String>, Vec<[String; 6]>)> = BTreeMap::new();
        let mut known = Vec::new();
        for record in reader.records() {
            let cells: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
            let (line, tier) = cells.split_at(16);
            if known.last() != Some(&line.to_vec()) {
                known.push(line.to_vec());
            }
            let entry = found.entry(known.len()).or_insert_with(|| (line.to_vec(), Vec::new()));
            entry.1.push(tier.to_vec().try_into().unwrap());
        }
        // The columns of lines are as they are without tiers.
        let joined: Vec<String> = known.iter().map(|cells| cells.join(",")).collect();
        assert_eq!(joined, lines.lines().skip(1).collect::<Vec<_>>());

        let (mut priced, mut several) = (0, 0);
        for (line, tiers) in found.into_values() {
            let (quantity, cost, meter) = (fraction(&line[9]), &line[11], &line[6]);
            if tiers[0].iter().all(String::is_empty) {
                let is_unpriced = meter == HOURS_ID && line[8] != "EU";
                assert!(tiers.len() == 1 && (line[9] == "0" || is_unpriced), "{line:?}");
                assert_eq!(cost.is_empty(), is_unpriced, "{line:?}");
                continue;
            }
            let (mut sum, mut reached) = (BigRational::default(), BigRational::default());
            for [from, to, part, price, amount, rounding] in &tiers {
                assert_eq!(rounding, mode);
                assert_eq!(fraction(from), reached, "{line:?}");
                let end = if to.is_empty() { quantity.clone() } else { quantity.clone().min(fraction(to)) };
                assert_eq!(fraction(part), &end - fraction(from), "{line:?}");
                assert_eq!(fraction(amount), fraction(part) * fraction(price), "{line:?}");
                sum += fraction(amount);
                reached = end;
            }
            assert_eq!(reached, quantity, "{line:?}");
            assert_eq!(fraction(cost), rounded(&sum, digits, mode), "{line:?}");
            assert_eq!(cost.split_once('.').map_or(0, |(_, digits)| digits.len()), digits);
            priced += 1;
            several += usize::from(tiers.len() > 1);
        }
        assert_eq!((priced, several), (9, 4), "{currency}");
    }
}
