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

/// Files that are no usage, or hold what is wrong.
fn bad_files(folder: &Path) -> Vec<&'static str> {
    let usage = given("usage.csv");
    let lines: Vec<&str> = usage.lines().collect();
    let (header, row) = (lines[0], lines[1]);
    let table = |rows: &str| format!("{header}\n{rows}\n");
    let files: Vec<(&str, Vec<u8>)> = vec![
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
        (
            "latin-1.csv",
            table(row)
                .replace("Joe,", "Jo\u{1},")
                .replace('\u{1}', "#")
                .replace("Jo#", "Joé")
                .chars()
                .map(|c| c as u8)
                .collect(),
        ),
        ("twice.csv", table(&format!("{row}\n{row}")).into()),
        (
            "numbers.csv",
            table(
                &[
                    row.replace(",0.5,", ",-1,"),
                    row.replace(",0.5,", ",1.234.5,"),
                    row.replace(",0.5,", ",1e38,"),
                    row.replace(",0.5,", ",,"),
                ]
                .join("\n"),
            )
            .into(),
        ),
        (
            "times.csv",
            table(
                &[
                    row.replace("2022-02-01T00:00:00Z", "2022-02-30T00:00:00Z"),
                    row.replace("2022-02-01T00:00:00Z", "2022-02-01T00:00:00"),
                    row.replace("2022-02-01T00:00:00Z", "2022-02-01T00:00:00.0000001Z"),
                    row.replace("2022-02-01T00:00:00Z", "01.02.2022"),
                    row.replace("2022-02-01T00:00:00Z", "2016-12-31T23:59:60Z"),
                    row.replace("2022-02-01T01:00:00Z", "2022-02-01T00:00:00Z"),
                    row.replace("2022-02-01T01:00:00Z", "2022-02-02T01:00:00.000001Z"),
                ]
                .join("\n"),
            )
            .into(),
        ),
        (
            "sets.csv",
            table(
                &[
                    row.replace(",USER,", ",ROBOT,"),
                    row.replace(",EU,", ",XX,"),
                    row.replace(",EU,,", ",EU,mcp,"),
                    row.replace(",EU,,", ",EU,aws,"),
                    row.replace(",FALSE,", ",no,"),
                    row.replace(HQ, "2b000000-0000-4000-8000-00000000000f"),
                    row.replace(ACME, "1a000000-0000-4000-8000-000000000002"),
                    row.replace("user_hours_essentials", "user_hours_premium"),
                ]
                .join("\n"),
            )
            .into(),
        ),
        ("many.csv", table(&vec![row.replace(",0.5,", ",x,"); 25].join("\n")).into()),
        ("archive.zip", b"PK\x03\x04 and so on".to_vec()),
        ("page.csv", "<!DOCTYPE html><html>".into()),
        ("data.json", "{\"records\": []}".into()),
        ("cut.csv.gz", {
            let whole = gzip(usage.as_bytes());
            whole[..whole.len() / 2].to_vec()
        }),
        ("twice.csv.gz", gzip(&gzip(usage.as_bytes()))),
    ];
    files
        .into_iter()
        .map(|(name, content)| {
            write(folder, name, content);
            name
        })
        .collect()
}

#[tokio::test]
async fn bad_files_of_usage() {
    let database = catalog().await;
    let folder = tempfile::tempdir().unwrap();
    let mut names = bad_files(folder.path());
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
