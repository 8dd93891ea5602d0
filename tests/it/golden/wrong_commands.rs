//! What commands say when they are called wrongly, or cannot do it.

use std::{io::Write as _, path::Path};

use super::{
    assert_golden,
    fixture::{ACME, HQ, catalog, command, given, said, shared},
};
use crate::support::{Database, port::Port};

#[tokio::test]
async fn wrong_arguments() {
    let database = Database::empty();
    // How many migrations there are is no matter of the contract.
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
    let needed = format!("needs {migrations}:");
    let mut text = String::new();
    for arguments in [
        &[][..],
        &["nothing"],
        &["import"],
        &["import", "a.csv", "--source", "a b"],
        &["withdraw", "--tenant", "x", "--day", "2022-02-30"],
        &["purge"],
        &["purge", "--keep-months", "0"],
        &["usage", "--tenant", HQ],
        &["usage", "--tenant", HQ, "--month", "2022-2"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "--asset-type", "ROBOT"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "--region", "XX"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "--as-of", "yesterday"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--to", "2022-01"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--to", "2023-08"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--tiers"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--tiers", "--by", "asset"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--by", "week"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--asset-id", "joe@acme.example"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--by", "day", "--asset-id", "joe@acme.example"],
        &["tenants", "--format", "xml"],
        &["tenants", "--server", "nowhere"],
        &["tenants", "--server", "http://192.0.2.1:1", "--token", "secret"],
        &["catalog", "apply", "catalog.yaml"],
        &["catalog", "apply", "there-is-none.toml"],
        &["migrate", "--grant-to", "everybody"],
        &["token"],
        &["token", "--organization", "x"],
        &["serve"],
        &["serve", "--insecure-no-auth", "--listen", "192.0.2.1:0"],
        &["serve", "--listen", "here"],
        &["serve", "--insecure-no-auth", "--tls-cert", "x.pem"],
        &["serve", "--oidc-issuer", "http://issuer.example", "--audience", "a"],
        // The schema is missing.
        &["import", "a.csv"],
    ] {
        text.push_str(&said(command(arguments).env("DATABASE_URL", &database.url), &[(&needed, "needs <number>:")]));
    }
    assert_golden("wrong/arguments.txt", &text);
}

#[tokio::test]
async fn questions_without_an_answer() {
    let (_, server) = shared().await;
    let port = Port::reserve();
    let nowhere = format!("http://{}", port.address);
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for arguments in [
        &["usage", "--tenant", "nobody", "--month", "2022-02"][..],
        &["usage", "--tenant", "00000000-0000-4000-8000-000000000009", "--month", "2022-02"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "--meter", "nothing", "-o", "-"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "-o", "no/such/folder.csv"],
        &["usage", "--tenant", HQ, "--month", "2022-02", "-o", "-", "--resume"],
        &["costs", "--organization", HQ, "--month", "2022-02"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--tenant", "tokyo"],
        &["costs", "--organization", HQ, "--month", "2022-02", "--by", "day"],
        &["costs", "--organization", ACME, "--month", "2022-02", "--by", "day", "--meter", "nothing"],
    ] {
        let mut command = command(arguments);
        command.env("SCR_SERVER", server.url()).current_dir(&folder);
        text.push_str(&said(&mut command, &[(&server.url(), "<server>")]));
    }
    text.push_str(&said(command(&["healthcheck"]).env("SCR_SERVER", &nowhere), &[(&nowhere, "<nowhere>")]));
    assert_golden("wrong/questions.txt", &text);
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), content).unwrap();
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

type Files = Vec<(&'static str, Vec<u8>)>;

/// Files that are no usage, or are not written as CSV.
fn bad_forms() -> Files {
    let usage = given("usage.csv");
    let lines: Vec<&str> = usage.lines().collect();
    let (header, row) = (lines[0], lines[1]);
    let table = |rows: &str| format!("{header}\n{rows}\n");
    let packed = gzip(usage.as_bytes());
    // The characters of Latin-1 have the first numbers of Unicode.
    let latin_1 = |text: String| text.chars().map(|character| u8::try_from(character).unwrap()).collect();
    vec![
        ("empty.csv", Vec::new()),
        ("no-header.csv", format!("{row}\n").into()),
        ("another-report.csv", "tenantId,month,cost\n1,2,3\n".into()),
        ("missing-column.csv", format!("{}\n", header.replace(",platform", "")).into()),
        ("unknown-column.csv", format!("{header},colour\n").into()),
        ("column-twice.csv", format!("{header},trial\n").into()),
        ("semicolons.csv", header.replace(',', ";").into()),
        ("tabs.csv", header.replace(',', "\t").into()),
        ("short-row.csv", table("1,2,3").into()),
        ("long-row.csv", table(&format!("{row},more")).into()),
        ("open-quote.csv", table(&row.replace(",Joe,", ",\"Joe,")).into()),
        ("stray-quote.csv", table(&row.replace(",Joe,", ",Jo\"e,")).into()),
        ("text-behind-quote.csv", table(&row.replace(",Joe,", ",\"Jo\"e,")).into()),
        ("latin-1.csv", latin_1(table(&row.replace(",Joe,", ",Joé,")))),
        ("twice.csv", table(&format!("{row}\n{row}")).into()),
        ("archive.zip", b"PK\x03\x04 and so on".to_vec()),
        ("page.csv", "<!DOCTYPE html><html>".into()),
        ("data.json", "{\"records\": []}".into()),
        ("cut.csv.gz", packed[..packed.len() / 2].to_vec()),
        ("twice.csv.gz", gzip(&packed)),
    ]
}

/// Files with values that are wrong.
fn bad_values() -> Files {
    let usage = given("usage.csv");
    let lines: Vec<&str> = usage.lines().collect();
    let (header, row) = (lines[0], lines[1]);
    let changed = |changes: &[(&str, &str)]| {
        let rows: Vec<String> = changes.iter().map(|(before, after)| row.replace(before, after)).collect();
        format!("{header}\n{}\n", rows.join("\n")).into_bytes()
    };
    let (start, end) = ("2022-02-01T00:00:00Z", "2022-02-01T01:00:00Z");
    vec![
        ("numbers.csv", changed(&[(",0.5,", ",-1,"), (",0.5,", ",1.234.5,"), (",0.5,", ",1e38,"), (",0.5,", ",,")])),
        (
            "times.csv",
            changed(&[
                (start, "2022-02-30T00:00:00Z"),
                (start, "2022-02-01T00:00:00"),
                (start, "2022-02-01T00:00:00.0000001Z"),
                (start, "01.02.2022"),
                (start, "2016-12-31T23:59:60Z"),
                (end, "2022-02-01T00:00:00Z"),
                (end, "2022-02-02T01:00:00.000001Z"),
            ]),
        ),
        (
            "sets.csv",
            changed(&[
                (",USER,", ",ROBOT,"),
                (",EU,", ",XX,"),
                (",EU,,", ",EU,mcp,"),
                (",EU,,", ",EU,aws,"),
                (",FALSE,", ",no,"),
                (HQ, "2b000000-0000-4000-8000-00000000000f"),
                (ACME, "1a000000-0000-4000-8000-000000000002"),
                ("user_hours_essentials", "user_hours_premium"),
            ]),
        ),
        ("many.csv", changed(&[(",0.5,", ",x,"); 25])),
    ]
}

#[tokio::test]
async fn bad_files_of_usage() {
    let database = catalog().await;
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for (name, content) in [bad_forms(), bad_values()].concat() {
        write(folder.path(), name, content);
        names.push(name);
    }
    names.push("there-is-none.csv");
    let import = |arguments: &[&str]| {
        let mut command = command(&[&["import"], arguments].concat());
        said(command.env("DATABASE_URL", &database.url).current_dir(&folder), &[])
    };
    let mut text: String = names.iter().map(|name| import(&[name])).collect();
    write(folder.path(), "good.csv", given("usage.csv"));
    text.push_str(&import(&["good.csv", "numbers.csv"]));
    text.push_str(&import(&["good.csv", "twice.csv"]));
    assert_golden("wrong/files.txt", &text);
    let loads = database.sql().await.query_one("SELECT count(*) FROM usage_load", &[]).await.unwrap();
    assert_eq!(loads.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn bad_catalogs() {
    let database = catalog().await;
    let folder = tempfile::tempdir().unwrap();
    let good = given("catalog.toml");
    let mut text = String::new();
    for (name, content) in [
        ("syntax.toml", "[[organizations]\n".to_owned()),
        ("key.toml", good.replacen("plan = ", "plam = ", 1)),
        ("number.toml", good.replacen("unit_price = \"0.01\"", "unit_price = 0.01", 1)),
        ("id.toml", good.replacen(ACME, "acme", 1)),
        ("currency.toml", good.replacen("\"USD\"", "\"XYZ\"", 1)),
        ("status.toml", good.replacen("\"NORMAL\"", "\"FINE\"", 1)),
        ("tiers.toml", good.replacen("up_to = \"1000\"", "up_to = \"50\"", 1)),
        (
            "last-tier.toml",
            good.replacen("{ unit_price = \"0.06\" }", "{ up_to = \"2000\", unit_price = \"0.06\" }", 1),
        ),
        ("twice.toml", good.replacen(HQ, "2b000000-0000-4000-8000-000000000002", 1)),
        (
            "unknown-organization.toml",
            good.replacen(
                &format!("organization_id = \"{ACME}\""),
                "organization_id = \"1a000000-0000-4000-8000-00000000000f\"",
                1,
            ),
        ),
        ("bad.json", "{\"organizations\": [}".to_owned()),
    ] {
        write(folder.path(), name, content);
        let mut command = command(&["catalog", "apply", name]);
        text.push_str(&said(command.env("DATABASE_URL", &database.url).current_dir(&folder), &[]));
    }
    assert_golden("wrong/catalogs.txt", &text);
}
