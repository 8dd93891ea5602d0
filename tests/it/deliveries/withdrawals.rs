//! A day of usage is taken back.

use secure_connect_reports::{client::UsageQuery, contract::proto::ListTenantsRequest};

use super::{CONTOSO, HQ, Line, file, import, may, row, run, sample, withdraw, without_times};
use crate::support::program;

#[tokio::test]
async fn a_day_can_be_withdrawn() {
    let database = sample().await;
    import(&database, file(&[Line::new("A", "a", "10")]), &[]).await;
    let server = database.serve();
    let query = UsageQuery::new(HQ.parse().unwrap(), "2023-05".parse().unwrap());
    let (before, first_revision) = server.csv(&query).await;
    let empty = server.csv(&UsageQuery::new(HQ.parse().unwrap(), "2023-06".parse().unwrap())).await;

    let said = withdraw(&database, HQ, "2023-05-01", &["--dry-run"]).await;
    assert!(said.ok && said.out.starts_with("dry run; this would be withdrawn:\n  tenant "), "{said:?}");
    assert_eq!(server.csv(&query).await.0, before);
    let said = withdraw(&database, HQ, "2023-05-01", &[]).await;
    assert!(said.ok && said.err.is_empty(), "{said:?}");
    assert_eq!(
        without_times(&said.out),
        format!(
            "withdrawn:\n  tenant {HQ} on 2023-05-01: withdraws the load of TIME: 1 -> 0 rows\n    user_hours_essentials: 10 -> 0\n"
        )
    );
    // The month is as one that was never delivered: no rows, no costs, no usage to choose; and it has a revision of its own.
    let (rows, revision) = server.csv(&query).await;
    assert_eq!(rows, empty.0);
    assert_ne!(revision, first_revision);
    let costs = run(
        {
            let mut command = program();
            command
                .args(["costs", "--organization", CONTOSO, "--month", "2023-05", "--format", "csv"])
                .args(["--server", &server.url()]);
            command
        },
        "",
    )
    .await;
    assert_eq!(costs.out.lines().count(), 1, "{costs:?}");
    let list = ListTenantsRequest { search: HQ.to_owned(), ..Default::default() };
    let tenant = server.stub().await.list_tenants(list.clone()).await.unwrap().into_inner().tenants.remove(0);
    assert_eq!((tenant.first_usage_month, tenant.last_usage_month), (None, None));

    // Nothing from two sources is nothing: it does not count twice.
    import(&database, file(&[Line::new("A", "a", "10")]), &["--source", "other"]).await;
    let said = withdraw(&database, HQ, "2023-05-01", &["--source", "other"]).await;
    assert!(said.ok && said.err.is_empty(), "{said:?}");

    // Once more changes nothing; what was never delivered is no day to withdraw.
    let said = withdraw(&database, HQ, "2023-05-01", &[]).await;
    assert_eq!(said.out, format!("tenant {HQ} on 2023-05-01: there is nothing left to withdraw\n"));
    for (tenant, day, options, error) in [
        (
            HQ,
            "2023-05-02",
            &[][..],
            "nothing was withdrawn: source default has delivered no usage of this tenant on 2023-05-02",
        ),
        (
            HQ,
            "2023-05-01",
            &["--source", "third"],
            "nothing was withdrawn: source third has delivered no usage of this tenant on 2023-05-01",
        ),
        ("00000000-0000-4000-8000-000000000000", "2023-05-01", &[], "nothing was withdrawn: there is no such tenant"),
    ] {
        let said = withdraw(&database, tenant, day, options).await;
        assert!(!said.ok && said.err == format!("error: {error}\n"), "{said:?}");
    }
    let said = withdraw(&database, HQ, "2023-02-29", &[]).await;
    assert!(!said.ok && said.err.contains("there is no such day"), "{said:?}");

    // A month's first and last day of usage are those that have some.
    let later = |start, end| Line { start, end, ..Line::new("A", "a", "1") };
    import(
        &database,
        file(&[
            later("2023-06-01T00:00:00Z", "2023-06-02T00:00:00Z"),
            later("2023-07-01T00:00:00Z", "2023-07-02T00:00:00Z"),
        ]),
        &[],
    )
    .await;
    assert!(withdraw(&database, HQ, "2023-07-01", &[]).await.ok);
    let tenant = server.stub().await.list_tenants(list).await.unwrap().into_inner().tenants.remove(0);
    let month = |month: Option<secure_connect_reports::contract::proto::YearMonth>| month.map(|month| month.month);
    assert_eq!((month(tenant.first_usage_month), month(tenant.last_usage_month)), (Some(6), Some(6)));

    // Delivered again, it is what it was.
    import(&database, file(&[Line::new("A", "a", "10")]), &[]).await;
    assert_eq!(server.csv(&query).await, (before, first_revision));
}

/// A report under way, and one as of an earlier moment, still have a day that is withdrawn meanwhile.
#[tokio::test]
async fn what_is_withdrawn_is_still_there_as_of_before() {
    let database = sample().await;
    import(
        &database,
        file(&[
            Line::new("A", "a", "10"),
            Line { start: "2023-05-02T00:00:00Z", end: "2023-05-03T00:00:00Z", ..Line::new("B", "b", "1") },
        ]),
        &[],
    )
    .await;
    let server = database.serve();
    let query = UsageQuery::new(HQ.parse().unwrap(), "2023-05".parse().unwrap());
    let before = server.csv(&query).await;
    let mut client = server.client().await;
    let mut running = client.detailed_usage(&query).await.unwrap();
    let as_of = secure_connect_reports::model::UtcTime::from_chrono(chrono::Utc::now());
    assert!(withdraw(&database, HQ, "2023-05-01", &[]).await.ok);
    let mut rows = 0;
    while let Some(records) = running.next().await.unwrap() {
        rows += records.len();
    }
    assert_eq!(rows, 2);
    assert_eq!(server.csv(&UsageQuery { as_of: Some(as_of), ..query.clone() }).await, before);
    assert_eq!(may(&database).await, [row("B", "b", "1")]);
}

/// What is withdrawn is never purged, since there is nothing of it: the month can still be read.
#[tokio::test]
async fn a_month_that_was_withdrawn_outlives_a_purge() {
    let database = sample().await;
    import(&database, file(&[Line::new("A", "a", "10")]), &[]).await;
    assert!(withdraw(&database, HQ, "2023-05-01", &[]).await.ok);
    for rule in [&["--superseded-days", "0"][..], &["--keep-months", "1"]] {
        let mut command = program();
        command.arg("purge").args(rule).env("DATABASE_URL", &database.url);
        let said = run(command, "").await;
        assert!(said.ok, "{said:?}");
        assert_eq!(may(&database).await, Vec::<[String; 3]>::new());
    }
    assert_eq!(
        withdraw(&database, HQ, "2023-05-01", &[]).await.out,
        format!("tenant {HQ} on 2023-05-01: there is nothing left to withdraw\n")
    );
}
