//! What a delivery leaves out: it is told, and taken back on request.

use secure_connect_reports::{
    client::UsageQuery,
    contract::proto::{
        ImportUsageRequest, LoadOutcome, UsageRecord, WithdrawUsageRequest, YearMonth,
        usage_import_service_client::UsageImportServiceClient,
    },
};
use tonic::transport::Channel;

use super::{CONTOSO, GLOBAL, HQ, Line, assert_refused, file, import, may, report, row, sample, without_times};
use crate::support::{
    Server,
    calls::{reason, records_of},
};

const FABRIKAM: &str = "a6579ec5-1114-5e8d-bef5-30de1673289d";
const WERK: &str = "ea6a6e75-43fe-5a8b-b8a1-002ebea5ef98";

fn note(tenant: &str, day: &str, rows: usize) -> String {
    format!(
        "note: this delivery has no rows of tenant {tenant} on {day}, but an earlier one of this source had {rows}, which stay in force (`import --complete` or `withdraw` withdraws them)\n"
    )
}

#[tokio::test]
async fn usage_that_moved_to_another_tenant_is_noticed() {
    let database = sample().await;
    let of = |tenant| Line { tenant, ..Line::new("A", "a", "10") };
    let next_day = |tenant| Line { start: "2023-05-02T00:00:00Z", end: "2023-05-03T00:00:00Z", ..of(tenant) };
    let first = file(&[of(HQ), of(GLOBAL), next_day(HQ)]);
    assert!(import(&database, first, &[]).await.err.is_empty());

    // Only where the source has delivered the tenant's day, and the delivery has the day of its organization.
    let moved = || file(&[of(GLOBAL), Line { id: "b", ..of(GLOBAL) }]);
    for options in [&["--dry-run"][..], &[], &[]] {
        let said = import(&database, moved(), options).await;
        assert!(said.ok && said.err == note(HQ, "2023-05-01", 1), "{said:?}");
    }
    for (delivery, options) in [
        (file(&[of(HQ), of(GLOBAL)]), &[][..]),
        (file(&[next_day(HQ)]), &[]),
        (moved(), &["--source", "other"]),
        (moved().replace("2023-05-0", "2023-05-1"), &[]),
    ] {
        let said = import(&database, delivery, &[&["--dry-run"], options].concat()).await;
        assert!(said.ok && !said.err.contains("note"), "{said:?}");
    }
    // It stays in force: that is what the note says.
    assert_eq!(may(&database).await, [row("A", "a", "10"), row("A", "a", "10")]);
}

#[tokio::test]
async fn a_complete_delivery_withdraws_what_it_leaves_out() {
    let database = sample().await;
    let of = |tenant| Line { tenant, ..Line::new("A", "a", "10") };
    let next_day = |tenant| Line { start: "2023-05-02T00:00:00Z", end: "2023-05-03T00:00:00Z", ..of(tenant) };
    import(&database, file(&[of(HQ), Line { id: "b", ..of(HQ) }, of(GLOBAL), next_day(HQ)]), &[]).await;
    import(&database, file(&[of(HQ)]), &["--source", "other"]).await;
    let server = database.serve();
    let query = UsageQuery::new(HQ.parse().unwrap(), "2023-05".parse().unwrap());
    let before = server.csv(&query).await;

    let delivery = || file(&[of(GLOBAL), Line { id: "b", ..of(GLOBAL) }]);
    let told = format!(
        "  tenant {HQ} on 2023-05-01: withdraws the load of TIME: 2 -> 0 rows\n    user_hours_essentials: 20 -> 0\n"
    );
    let said = import(&database, delivery(), &["--complete", "--dry-run"]).await;
    assert!(said.ok && said.err.is_empty(), "{said:?}");
    assert!(
        said.out
            .starts_with("-: 2 records; dry run: 0 loads would be published, 1 restated, 1 withdrawn, 0 unchanged\n"),
        "{said:?}"
    );
    assert!(without_times(&said.out).contains(&told), "{said:?}");
    assert_eq!(server.csv(&query).await, before);

    let said = import(&database, delivery(), &["--complete"]).await;
    assert!(said.ok && said.err.is_empty(), "{said:?}");
    assert!(
        said.out.starts_with("-: 2 records; 0 loads published, 1 restated, 1 withdrawn, 0 unchanged\n"),
        "{said:?}"
    );
    assert!(without_times(&said.out).contains(&told), "{said:?}");
    // Of this source and this day; what another source says, and another day, stays.
    let rows = report(&database, HQ, "2023-05").await;
    let found: Vec<(&str, &str)> = rows.iter().map(|row| (row[7].as_str(), row[3].as_str())).collect();
    assert_eq!(found, [("2023-05-01T00:00:00Z", "a"), ("2023-05-02T00:00:00Z", "a")]);

    // Again: nothing is left to withdraw, and nothing changes.
    let said = import(&database, delivery(), &["--complete"]).await;
    assert_eq!((said.out.as_str(), said.err.as_str()), ("-: unchanged (2 records, 1 loads)\n", ""));
    // It is kept like any load: who, when, and what it superseded.
    let sql = database.sql().await;
    let loads = "SELECT i.file_name || ' ' || l.record_count FROM usage_load l JOIN usage_import i USING (import_id)
        JOIN tenant t USING (tenant_key) WHERE t.tenant_id = $1::text::uuid AND l.usage_day = '2023-05-01' AND l.source = 'default'
        ORDER BY l.published_at";
    let loads: Vec<String> = sql.query(loads, &[&HQ]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(loads, ["- 2", "- 0"]);
    let view = "SELECT count(*) FROM detailed_usage_report WHERE \"tenantId\" = $1::text::uuid";
    assert_eq!(sql.query_one(view, &[&HQ]).await.unwrap().get::<_, i64>(0), 2);

    // A day comes back when it is delivered.
    let said = import(&database, file(&[of(HQ), of(GLOBAL)]), &[]).await;
    assert!(without_times(&said.out).contains("supersedes the load of TIME: 0 -> 1 rows"), "{said:?}");
}

/// All days for all organizations: a day that another organization has rows of is empty for one that has none.
#[tokio::test]
async fn a_complete_delivery_is_the_whole_of_its_days_for_all_its_organizations() {
    let database = sample().await;
    let first = |tenant| Line { tenant, ..Line::new("A", "a", "10") };
    let second = |tenant| Line { start: "2023-05-02T00:00:00Z", end: "2023-05-03T00:00:00Z", ..first(tenant) };
    let third = |tenant| Line { start: "2023-05-03T00:00:00Z", end: "2023-05-04T00:00:00Z", ..first(tenant) };
    let fabrikam = |line: Line<'_>| line.text().replace(CONTOSO, FABRIKAM);
    let lines = |rows: &[String]| format!("{}\n{}\n", super::HEADER, rows.join("\n"));
    let all = [
        first(HQ).text(),
        second(HQ).text(),
        third(HQ).text(),
        fabrikam(first(WERK)),
        fabrikam(second(WERK)),
        fabrikam(third(WERK)),
    ];
    assert!(import(&database, lines(&all), &[]).await.ok);
    // Nothing is said of the third day.
    let said = import(&database, lines(&[all[0].clone(), all[1].clone(), all[3].clone()]), &["--complete"]).await;
    assert!(
        said.ok && said.out.starts_with("-: 3 records; 0 loads published, 0 restated, 1 withdrawn, 3 unchanged\n"),
        "{said:?}"
    );
    assert!(said.out.contains(&format!("tenant {WERK} on 2023-05-02: withdraws")), "{said:?}");
    assert_eq!(report(&database, WERK, "2023-05").await.len(), 2);
    assert_eq!(may(&database).await.len(), 3);
}

async fn records(server: &Server, tenant: &str) -> Vec<UsageRecord> {
    records_of(server, tenant, YearMonth { year: 2023, month: 5 }).await
}

#[tokio::test]
async fn back_ends_can_do_the_same() {
    let database = sample().await;
    let of = |tenant| Line { tenant, ..Line::new("A", "a", "10") };
    import(&database, file(&[of(HQ), of(GLOBAL)]), &[]).await;
    let server = database.serve();
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut imports = UsageImportServiceClient::new(channel);
    let mut record = records(&server, GLOBAL).await.remove(0);
    record.trial = true;
    record.trial_expiry = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let message = |complete, records| ImportUsageRequest { complete, records, ..Default::default() };

    // What is left out and what is odd is told.
    let answer =
        imports.import_usage(tokio_stream::iter([message(false, vec![record.clone()])])).await.unwrap().into_inner();
    let omitted: Vec<_> = answer
        .omitted_loads
        .iter()
        .map(|load| (load.tenant_id.as_str(), load.usage_day.as_str(), load.record_count))
        .collect();
    assert_eq!((omitted, answer.omitted_load_count, answer.load_count), (vec![(HQ, "2023-05-01", 1)], 1, 1));
    let [warning] = answer.warnings.as_slice() else { panic!("{answer:?}") };
    assert_eq!((warning.reason.as_str(), warning.count, warning.first_record), ("TRIAL_EXPIRED", 1, 0));
    assert_eq!(warning.message, "it starts at 2023-05-01T00:00:00Z, but the trial expired at 1970-01-01T00:00:01Z");

    // The first message says whether the stream is complete.
    let late = tokio_stream::iter([message(false, vec![record.clone()]), message(true, Vec::new())]);
    let status = imports.import_usage(late).await.unwrap_err();
    assert_eq!(reason(&status), (tonic::Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
    let parts = tokio_stream::iter([message(true, Vec::new()), message(false, vec![record.clone()])]);
    let answer = imports.import_usage(parts).await.unwrap().into_inner();
    let loads: Vec<_> = answer
        .loads
        .iter()
        .map(|load| (load.tenant_id.as_str(), load.outcome(), load.record_count, load.superseded_record_count))
        .collect();
    assert_eq!(loads, [(HQ, LoadOutcome::Withdrawn, 0, 1), (GLOBAL, LoadOutcome::Unchanged, 1, 0)]);
    assert!(answer.published_at.is_some() && answer.omitted_loads.is_empty());
    assert_eq!((answer.load_count, answer.omitted_load_count), (2, 0));
    assert!(records(&server, HQ).await.is_empty());

    let request = |tenant: &str, day: &str| WithdrawUsageRequest {
        tenant_id: tenant.to_owned(),
        usage_day: day.to_owned(),
        source: String::new(),
    };
    let answer = imports.withdraw_usage(request(GLOBAL, "2023-05-01")).await.unwrap().into_inner();
    let load = answer.load.clone().unwrap();
    assert_eq!((load.outcome(), load.superseded_record_count, load.record_count), (LoadOutcome::Withdrawn, 1, 0));
    assert!(answer.published_at.is_some() && records(&server, GLOBAL).await.is_empty());
    let again = imports.withdraw_usage(request(GLOBAL, "2023-05-01")).await.unwrap().into_inner();
    assert_eq!((again.load.unwrap().outcome(), again.published_at), (LoadOutcome::Unchanged, None));
    assert_eq!(server.metric("scr_imported_loads_total{outcome=\"withdrawn\"}").await, 2.0);
    for (request, code, expected) in [
        (request(GLOBAL, "2023-05-02"), tonic::Code::NotFound, "USAGE_NOT_FOUND"),
        (request(FABRIKAM, "2023-05-01"), tonic::Code::NotFound, "TENANT_NOT_FOUND"),
        (request("", "2023-05-01"), tonic::Code::InvalidArgument, "INVALID_ARGUMENT"),
        (request(HQ, ""), tonic::Code::InvalidArgument, "INVALID_ARGUMENT"),
        (request(HQ, "2023-5-1"), tonic::Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        let status = imports.withdraw_usage(request).await.unwrap_err();
        assert_eq!(reason(&status), (code, expected.to_owned()), "{status:?}");
    }
}

/// A tenant's day that comes while a complete delivery waits to publish is not known to be empty: nothing is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_delivery_withdraws_nothing_that_it_has_not_looked_at() {
    let database = sample().await;
    let of = |tenant, quantity| Line { tenant, ..Line::new("A", "a", quantity) };
    assert!(import(&database, file(&[of(GLOBAL, "1")]), &[]).await.ok);
    let mut publisher = database.sql().await;
    let lock = publisher.transaction().await.unwrap();
    lock.batch_execute("SELECT pg_advisory_xact_lock(x'53435200000001'::bigint)").await.unwrap();
    let observer = database.sql().await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
    let wait_for = async |count: i64| {
        while observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    // They publish in the order in which they came to the lock.
    let others = async {
        let first = import(&database, file(&[of(HQ, "7")]), &[]);
        let second = async {
            wait_for(1).await;
            import(&database, file(&[of(GLOBAL, "2")]), &["--complete"]).await
        };
        tokio::join!(first, second)
    };
    let release = async {
        wait_for(2).await;
        lock.rollback().await.unwrap();
    };
    let ((first, complete), ()) = tokio::join!(others, release);
    assert!(first.ok, "{first:?}");
    assert!(!complete.ok && complete.err.contains("what this delivery leaves out changed"), "{complete:?}");
    assert_eq!(may(&database).await, [row("A", "a", "7")]);
    assert_eq!(report(&database, GLOBAL, "2023-05").await[0][9], "1");
    // Told again, it withdraws what it has looked at by then.
    let again = import(&database, file(&[of(GLOBAL, "2")]), &["--complete"]).await;
    assert!(again.ok && again.out.contains("1 restated, 1 withdrawn"), "{again:?}");
}

/// Two importers: what one withdraws, the other may deliver at this very moment. Both hold, in one order or the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_delivery_and_another_import_take_turns() {
    let database = sample().await;
    fn of<'a>(tenant: &'a str, quantity: &'a str) -> Line<'a> {
        Line { tenant, ..Line::new("A", "a", quantity) }
    }
    for round in 1..=crate::support::rounds(4) {
        let quantity = round.to_string();
        let all = file(&[of(HQ, &quantity), of(GLOBAL, &quantity)]);
        assert!(import(&database, all, &[]).await.ok);
        let later = format!("{round}.5");
        let (without, with) = (file(&[of(GLOBAL, &later)]), file(&[of(HQ, &later)]));
        let (complete, other) = tokio::join!(import(&database, without, &["--complete"]), import(&database, with, &[]));
        assert!(other.ok, "{other:?}");
        let found = may(&database).await;
        if complete.ok {
            let is_sound = found.is_empty() || found == [row("A", "a", &later)];
            assert!(is_sound, "{found:?}: {complete:?} {other:?}");
        } else {
            assert!(
                complete.err.contains("nothing was imported") || complete.err.contains("another import"),
                "{complete:?}"
            );
            assert_eq!(found, [row("A", "a", &later)]);
        }
    }
    let refused = import(&database, "x", &["--complete"]).await;
    assert_refused(&refused, &["line 1 \"x\": no field of this line"]);
}
