//! Organizations and tenants by their names.

use super::{client, run, served};
use crate::support::{
    Server,
    builder::{CATALOG, ORG, ORG_EUR, Row, TENANT},
    program,
};

/// The commands for an organization: each with its own output for it.
fn asked(server: &Server, organization: &str) -> Vec<(bool, String, String)> {
    let commands: [&[&str]; 5] = [
        &["tenants", "--format", "csv"],
        &["costs", "--month", "2022-02", "--format", "csv"],
        &["statement", "list", "--format", "csv"],
        &["statement", "get", "--month", "2022-01"],
        &["costs", "--month", "2022-02", "--tenant", "acme-hq", "--format", "json"],
    ];
    let ask = |command: &&[&str]| run(client(server, command).args(["--organization", organization]));
    commands.iter().map(ask).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_are_named_by_id_or_by_a_name_that_is_theirs_alone() {
    let (database, server) = served(&[Row::on("2022-01-01", "7"), Row::on("2022-02-01", "100")]).await;
    let close = |organization: &str| {
        let mut command = program();
        command.args(["close", "--month", "2022-01", "--allow-missing-days", "--organization", organization]);
        run(command.env("DATABASE_URL", &database.url))
    };
    let (ok, _, log) = close("Acne");
    assert!(!ok && log.contains("there is no organization named \"Acne\""), "{log}");
    let (ok, out, log) = close("Acme");
    assert!(ok && out.contains("Acme: closed: statement 2022-01-000001, 0.07 USD"), "{out}{log}");

    let by_id = asked(&server, ORG);
    assert!(by_id.iter().all(|(ok, ..)| *ok), "{by_id:?}");
    assert!(by_id[1].1.contains(",acme-hq,") && by_id[3].1.contains("2022-01-000001"), "{by_id:?}");
    assert_eq!(asked(&server, "Acme"), by_id);
    for (ok, _, log) in asked(&server, "Acne") {
        let expected = "error: there is no organization named \"Acne\"; `secure-connect-reports organizations` lists the \
                        organizations that you may see\n";
        assert!(!ok && log == expected, "{log}");
    }
    for (ok, _, log) in asked(&server, TENANT).into_iter().skip(1).take(3) {
        let expected = "error: there is no such organization; `secure-connect-reports organizations` lists the \
                        organizations that you may see\n";
        assert!(!ok && log == expected, "{log}");
    }

    // A name in the form that a Mac makes of it.
    database.apply(&CATALOG.replace("\"Acme\"", "\"Z\u{fc}rich\"")).await;
    let renamed = asked(&server, ORG);
    assert_eq!(asked(&server, "Zu\u{308}rich"), renamed);
    assert_eq!(asked(&server, "Z\u{fc}rich"), renamed);

    database.apply(&CATALOG.replace("\"Zeta\"", "\"Acme\"")).await;
    let both = format!("several organizations are named \"Acme\"; use the id of one of them:\n  {ORG}\n  {ORG_EUR}\n");
    for (ok, _, log) in asked(&server, "Acme") {
        assert!(!ok && log == format!("error: {both}"), "{log}");
    }
    let (ok, _, log) = close("Acme");
    assert!(!ok && log.ends_with(&both), "{log}");
    assert!(asked(&server, ORG).iter().all(|(ok, ..)| *ok));
}

/// A name that two tenants have is that of one of them in an organization.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_found_by_their_names_in_their_organization() {
    let (database, server) = served(&[Row::on("2022-02-01", "100")]).await;
    database.apply(&CATALOG.replace("\"zeta-hq\"", "\"acme-hq\"")).await;
    let costs = ["costs", "--month", "2022-02", "--tenant", "acme-hq", "--format", "csv"];
    let (ok, out, log) = run(client(&server, &costs).args(["--organization", "Acme"]));
    assert!(ok && out.contains(TENANT) && out.lines().count() == 2, "{log}");
    let (ok, _, log) = run(client(&server, &costs).args(["--organization", "Zeta"]));
    assert!(ok, "{log}");
    let (ok, _, log) = run(client(&server, &costs[..5]).args(["--organization", "Zeta", "--tenant", "acme-lab"]));
    assert!(!ok && log.contains("tenant"), "{log}");
}
