//! `costs` of several organizations.

use super::{client, run, served};
use crate::support::{
    Database,
    builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_EUR, csv},
    issuer::{Issuer, Signer},
    program,
};

const EUROS: &str = r#"
[[prices]]
meter = "user_hours_essentials"
currency = "EUR"
effective_from = "2022-01"
tiers = [{ unit_price = "0.02" }]
"#;

/// Two organizations with 100 and 300 hours, in USD and EUR, and gigabytes that have no price in EUR.
fn rows() -> [Row; 3] {
    let of_zeta = |row: Row| row.of(ORG_EUR, TENANT_EUR);
    [
        Row::on("2022-02-01", "100"),
        of_zeta(Row::on("2022-02-01", "300")),
        of_zeta(Row::on("2022-02-02", "7")).bandwidth(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_of_all_organizations_keep_their_currencies_apart() {
    let (database, server) = served(&rows()).await;
    database.apply(EUROS).await;
    let costs = |more: &[&str]| run(client(&server, &["costs", "--month", "2022-02"]).args(more));

    let (ok, table, log) = costs(&[]);
    let warning = "warning: no price in EUR covers 7 of bandwidth_gib_essentials in EU (2022-02, tenant \
                   bbbbbbbb-0000-4000-8000-000000000003); it is not in the total\n";
    assert!(ok && log == format!("{warning}2 organizations\n"), "{log}");
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let headers = ["MONTH", "TENANT", "METER", "REGION", "QUANTITY", "TRIAL", "UNIT", "COST", "CURRENCY"];
    let (acme, zeta) = (format!("({ORG}),"), format!("({ORG_EUR}),"));
    let expected: [&[&str]; 10] = [
        &["Acme", &acme, "in", "USD"],
        &headers,
        &["2022-02", "acme-hq", "user_hours_essentials", "EU", "100", "0", "hour", "1.00", "USD"],
        &["2022-02", "TOTAL", "1.00", "USD"],
        &[],
        &["Zeta", &zeta, "in", "EUR"],
        &headers,
        &["2022-02", "zeta-hq", "bandwidth_gib_essentials", "EU", "7", "0", "GiB", "no", "price", "EUR"],
        &["2022-02", "zeta-hq", "user_hours_essentials", "EU", "300", "0", "hour", "6.00", "EUR"],
        &["2022-02", "TOTAL", "6.00", "EUR"],
    ];
    assert_eq!(words, expected);

    // The lines are those of each by itself, under one header.
    let (ok, text, log) = costs(&["--format", "csv"]);
    assert!(ok && log == warning, "{log}");
    let one = |organization: &str| costs(&["--format", "csv", "--organization", organization]).1;
    let (acme, zeta) = (one("Acme"), one("Zeta"));
    assert_eq!(acme.lines().next(), zeta.lines().next());
    assert_eq!(text, format!("{acme}{}", zeta.split_once('\n').unwrap().1));

    let (ok, text, _) = costs(&["--format", "json"]);
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(ok && text == format!("{all:#}\n"), "{text}");
    let bills = all.as_array().unwrap();
    assert_eq!(bills.len(), 2);
    for (bill, [id, name, currency]) in bills.iter().zip([[ORG, "Acme", "USD"], [ORG_EUR, "Zeta", "EUR"]]) {
        let (_, text, _) = costs(&["--format", "json", "--organization", id]);
        let mut expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        expected["organizationId"] = id.into();
        expected["organizationName"] = name.into();
        expected["currency"] = currency.into();
        assert_eq!(bill, &expected);
    }
    assert_eq!([&bills[0]["totals"][0]["cost"], &bills[1]["totals"][0]["cost"]], ["1.00", "6.00"]);

    let (ok, _, log) = costs(&["--tenant", TENANT]);
    assert!(!ok && log.contains("--organization <ID|NAME>"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_of_all_organizations_are_those_that_one_may_see() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&csv(&rows())).await;
    let key = Signer::new(jsonwebtoken::Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let ask = |organizations: &[&str], format: &str| {
        let mut command = program();
        command.args(["costs", "--month", "2022-02", "--format", format]).env("SCR_SERVER", server.url());
        run(command.env("SCR_TOKEN", key.sign(&issuer.claims(organizations))))
    };
    let (ok, text, log) = ask(&[ORG], "csv");
    assert!(ok && log.is_empty(), "{log}");
    assert_eq!(text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect::<Vec<_>>(), [ORG]);

    let nobody = ["aaaaaaaa-0000-4000-8000-00000000ffff"];
    assert_eq!(ask(&nobody, "csv").1.lines().count(), 1, "its header");
    assert_eq!(ask(&nobody, "json").1, "[]\n");
    let (ok, table, log) = ask(&nobody, "table");
    assert!(ok && table.is_empty() && log == "0 organizations\n", "{table}{log}");
}
