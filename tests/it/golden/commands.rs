//! What commands print when all goes well.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    assert_golden,
    fixture::{ACME, HQ, KUWAIT_ORG, TOKYO_ORG, catalog, command, given, said, shared},
};
use crate::support::{Database, Server};

/// A command on a database, in a folder with the files that are given.
fn on(database: &Database, folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env("DATABASE_URL", &database.url).current_dir(folder);
    command
}

fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["catalog.toml", "usage.csv", "restatement.csv", "second-source.csv", "spellings.csv"] {
        std::fs::write(folder.path().join(name), given(name)).unwrap();
    }
    folder
}

/// A command that asks a server.
fn ask(server: &Server, arguments: &[&str]) -> String {
    let mut command = command(arguments);
    // Not among the arguments that are shown.
    command.env("SCR_SERVER", server.url());
    said(&mut command, &[(&server.url(), "<server>")])
}

#[test]
fn migrations() {
    let database = Database::empty();
    let folder = files();
    let mut text = String::new();
    let first = said(&mut on(&database, &folder, &["migrate"]), &[]);
    // Which migrations there are is no matter of the contract.
    let (before, applied) = first.split_once("applied ").unwrap();
    let names: Vec<&str> = applied.lines().next().unwrap().split(", ").collect();
    assert!(names.len() >= 12 && names.iter().all(|name| name.starts_with('V')), "{names:?}");
    text.push_str(&format!("{before}applied <{}, and so on>\n\n", names[0]));
    text.push_str(&said(&mut on(&database, &folder, &["migrate"]), &[]));
    assert_golden("commands/migrate.txt", &text);
}

#[test]
fn catalogs() {
    let database = Database::migrated();
    let folder = files();
    let mut text = String::new();
    text.push_str(&said(&mut on(&database, &folder, &["catalog", "apply", "catalog.toml"]), &[]));
    text.push_str(&said(&mut on(&database, &folder, &["catalog", "apply", "catalog.toml"]), &[]));
    let changed = given("catalog.toml").replace("\"acme-hq\"", "\"acme\"").replace("\"0.085\"", "\"0.08\"");
    std::fs::write(folder.path().join("changed.toml"), changed).unwrap();
    text.push_str(&said(&mut on(&database, &folder, &["catalog", "apply", "changed.toml"]), &[]));
    assert_golden("commands/catalog.txt", &text);
}

#[tokio::test]
async fn imports_withdrawals_and_purges() {
    let database = catalog().await;
    let folder = files();
    std::fs::write(folder.path().join("only-header.csv"), given("usage.csv").lines().next().unwrap()).unwrap();
    let odd = given("usage.csv").lines().filter(|line| line.contains(",lab-1,")).collect::<Vec<_>>().join("\n");
    let header = given("usage.csv").lines().next().unwrap().to_owned();
    // The first is under trial and begins when that has expired; two ids differ in their normal form only.
    let late = odd.replacen("2022-02-15T00:00:00Z", "2022-01-15T00:00:00Z", 1);
    let alike = format!("{}\n{}", late.replace("lab-1", "z\u{eb}"), late.replace("lab-1", "ze\u{308}"));
    std::fs::write(folder.path().join("odd.csv"), format!("{header}\n{alike}\n")).unwrap();
    let mut text = String::new();
    for arguments in [
        &["import", "--dry-run", "usage.csv", "second-source.csv"][..],
        &["import", "usage.csv"],
        &["import", "usage.csv"],
        &["import", "--source", "probe", "second-source.csv"],
        &["import", "--dry-run", "restatement.csv"],
        &["import", "restatement.csv"],
        &["import", "--dry-run", "usage.csv"],
        &["import", "--source", "probe", "restatement.csv"],
        &["import", "--source", "probe", "--complete", "second-source.csv"],
        &["import", "only-header.csv"],
        &["import", "--dry-run", "odd.csv"],
        &["import", "--dry-run", "--complete", "odd.csv"],
        &["import", "--source", "odd", "odd.csv"],
        &["withdraw", "--tenant", HQ, "--day", "2022-02-28", "--dry-run"],
        &["withdraw", "--tenant", HQ, "--day", "2022-02-28"],
        &["withdraw", "--tenant", HQ, "--day", "2022-02-28"],
        &["purge", "--superseded-days", "0", "--dry-run"],
        &["purge", "--superseded-days", "0"],
        &["purge", "--keep-months", "12", "--dry-run"],
        &["purge", "--keep-months", "12", "--superseded-days", "0"],
        &["purge", "--keep-months", "12"],
    ] {
        text.push_str(&said(&mut on(&database, &folder, arguments), &[]));
    }
    assert_golden("commands/import-withdraw-purge.txt", &text);
}

const DRAFT: &str = r#"
[[prices]]
meter = "user_hours_essentials"
currency = "USD"
effective_from = "2022-01"
tiers = [{ up_to = "10", unit_price = "0" }, { unit_price = "0.5" }]
"#;

#[tokio::test]
async fn tenants_and_costs() {
    let (_, server) = shared().await;
    let mut text = String::new();
    for arguments in [
        &["tenants"][..],
        &["tenants", "nobody"],
        &["tenants", "--organization", ACME, "--format", "csv"],
        &["tenants", "acme", "--format", "json"],
    ] {
        text.push_str(&ask(server, arguments));
    }
    assert_golden("commands/tenants.txt", &text);

    let mut text = String::new();
    for arguments in
        [&["organizations"][..], &["organizations", "--format", "csv"], &["organizations", "--format", "json"]]
    {
        text.push_str(&ask(server, arguments));
    }
    assert_golden("commands/organizations.txt", &text);

    let mut text = String::new();
    for arguments in [
        &["prices", "--month", "2022-03"][..],
        &["prices", "--month", "2022-03", "--currency", "KWD", "--meter", "user_hours_essentials"],
        &["prices", "--month", "2021-12", "--format", "csv"],
        &["prices", "--month", "2022-03", "--meter", "nothing"],
    ] {
        text.push_str(&ask(server, arguments));
    }
    assert_golden("commands/prices.txt", &text);

    let mut text = String::new();
    for arguments in [
        &["costs", "--organization", ACME, "--month", "2022-01", "--to", "2022-03"][..],
        &["costs", "--organization", ACME, "--month", "2022-02", "--tenant", "acme-hq", "--format", "csv"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--format", "json"],
        &["costs", "--organization", TOKYO_ORG, "--month", "2022-02"],
        &["costs", "--organization", KUWAIT_ORG, "--month", "2022-02"],
        &["costs", "--organization", KUWAIT_ORG, "--month", "2021-12"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--format", "csv", "--tiers"],
    ] {
        text.push_str(&ask(server, arguments));
    }
    assert_golden("commands/costs.txt", &text);

    let folder = tempfile::tempdir().unwrap();
    let draft: &'static str = folder.path().join("draft.toml").to_string_lossy().into_owned().leak();
    std::fs::write(draft, DRAFT).unwrap();
    let mut text = String::new();
    let parts =
        |more: &[&'static str]| [&["costs", "--organization", ACME, "--month", "2022-02", "--by"], more].concat();
    for arguments in [
        parts(&["asset"]),
        parts(&["day,platform", "--tenant", "acme-hq", "--region", "EU", "--format", "csv"]),
        parts(&["asset", "--tenant", "acme-hq", "--format", "csv", "--neutralize-formulas"]),
        parts(&["asset-type", "--asset-type", "USER", "--to", "2022-03", "--format", "json"]),
        vec!["costs", "--organization", TOKYO_ORG, "--month", "2022-02", "--by", "asset-type"],
        vec!["costs", "--organization", KUWAIT_ORG, "--month", "2021-12", "--by", "asset,day"],
    ] {
        text.push_str(&ask(server, &arguments));
    }
    assert_golden("commands/costs-by.txt", &text);

    let mut text = String::new();
    let compare = |more: &[&'static str]| [&["costs", "compare", "--organization", ACME], more].concat();
    for arguments in [
        compare(&["--base", "2022-02", "--target", "2022-03"]),
        compare(&["--base", "2022-02", "--target", "2022-03", "--tenant", "acme-hq", "--format", "csv"]),
        compare(&["--base", "2022-01", "--target", "2022-02", "--to", "2022-03", "--top", "2", "--format", "json"]),
        compare(&["--target", "2022-02", "--prices", draft, "--top", "3"]),
        compare(&["--target", "2022-02"]),
        vec!["costs", "compare", "--organization", KUWAIT_ORG, "--base", "2021-12", "--target", "2022-02"],
    ] {
        text.push_str(&ask(server, &arguments).replace(draft, "draft.toml"));
    }
    assert_golden("commands/costs-compare.txt", &text);
}

#[tokio::test]
async fn downloads_and_health() {
    let (_, server) = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for arguments in [
        &["usage", "--tenant", "acme-hq", "--month", "2022-02"][..],
        &["usage", "--tenant", "acme/lab: \"Zürich\"", "--month", "2022-02"],
        &["usage", "--tenant", "acme-empty", "--month", "2022-02", "-o", "empty.csv"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "--trial", "true", "-o", "-"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "-o", "other.csv", "--resume"],
    ] {
        let mut command = command(arguments);
        command.env("SCR_SERVER", server.url()).current_dir(&folder);
        text.push_str(&said(&mut command, &[(&server.url(), "<server>")]));
    }
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    text.push_str(&format!("files: {names:?}\n\n"));
    // A server is SERVING some moments after it listens.
    while !command(&["healthcheck", "--server", &server.url()]).output().unwrap().status.success() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    text.push_str(&ask(server, &["healthcheck"]));
    assert_golden("commands/usage-healthcheck.txt", &text);
}

#[test]
fn tokens_for_development() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut arguments = vec!["token", "--organization", ACME, "--role", "Reports,UsageImport", "--subject", "joe"];
    arguments.extend(["--audience", "a,b", "--expires-in-seconds", "60"]);
    let mut command = command(&arguments);
    command.env("SCR_KEY_DIR", &keys);
    let output = command.output().unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<&str> = token.trim_end().split('.').collect();
    let part = |index: usize| -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[index]).unwrap()).unwrap()
    };
    let (mut header, mut claims) = (part(0), part(1));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    header["kid"] = "<key>".into();
    for name in ["exp", "iat"] {
        claims[name] = "<time>".into();
    }
    let told = String::from_utf8(output.stderr).unwrap().replace(keys.to_str().unwrap(), "<keys>");
    assert_golden("commands/token.txt", &format!("{told}{header:#}\n{claims:#}\n"));
}
