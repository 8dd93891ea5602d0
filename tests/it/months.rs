//! Months as bills see them: the same content as the detail, at every moment, and for what was there before.

mod ahead;

use proptest::prelude::*;
use secure_connect_reports::contract::proto::{GetDetailedUsageRequest, ReportHeader};

use tokio_postgres::error::SqlState;

use crate::{
    schema::file_of,
    support::{
        Database, Server,
        builder::{CATALOG, GIB, ORG, Row, TENANT, TENANT_2, csv},
        calls::{detailed_usage, monthly_costs},
    },
};

/// What is imported, one after the other: two months, two sources, days that are restated, and another tenant.
async fn publish(database: &Database) -> Vec<prost_types::Timestamp> {
    let day = |day: &str, quantity: &str| Row::on(day, quantity);
    let imports = [
        ("default", vec![day("2022-02-01", "1.5"), day("2022-02-02", "2"), day("2022-03-01", "4")]),
        ("second", vec![day("2022-02-01", "8").asset("b"), day("2022-02-03", "0.25").bandwidth()]),
        ("default", vec![day("2022-02-01", "16"), day("2022-02-01", "1").asset("c").with("trial", "TRUE")]),
        ("default", vec![day("2022-02-02", "2.00"), day("2022-02-02", "3").with("tenantId", TENANT_2)]),
        ("second", vec![day("2022-03-31", "32")]),
        ("default", vec![day("2022-02-01", "1.5")]),
    ];
    let mut moments = Vec::new();
    for (source, rows) in imports {
        let report = database.import_from(source, &csv(&rows)).await;
        moments.push(report.published_at.expect("something new").into());
    }
    moments
}

async fn detail(server: &Server, tenant: &str, as_of: Option<prost_types::Timestamp>) -> ReportHeader {
    let request = GetDetailedUsageRequest { as_of, ..detailed_usage(tenant) };
    let mut stream = server.stub().await.get_detailed_usage(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap().header.unwrap()
}

#[tokio::test]
async fn a_bill_is_made_of_the_revision_that_the_detail_shows() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let moments = publish(&database).await;
    let server = database.serve();
    let mut revisions = Vec::new();
    for as_of in moments.iter().copied().map(Some).chain([None]) {
        let request = secure_connect_reports::contract::proto::GetMonthlyCostsRequest { as_of, ..monthly_costs(ORG) };
        let costs = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
        for month in &costs.tenant_months {
            let header = detail(&server, &month.tenant_id, as_of).await;
            assert_eq!((&header.revision, header.data_as_of), (&month.revision, month.data_as_of), "{as_of:?}");
            let billed: i64 =
                costs.lines.iter().filter(|line| line.tenant_id == month.tenant_id).map(|line| line.record_count).sum();
            assert_eq!(billed, header.record_count, "{as_of:?}");
        }
        let own = costs.tenant_months.iter().find(|month| month.tenant_id == TENANT).unwrap();
        revisions.push(own.revision.clone());
        let gib = costs.lines.iter().filter(|line| line.meter_name == GIB).count();
        assert_eq!(gib, usize::from(as_of != Some(moments[0])));
    }
    // Each publication made another one of the month, but for that of March and the look at the present. The last import
    // brought the first day back as it was, while the second day had got another text for its quantity.
    let distinct: std::collections::HashSet<_> = revisions.iter().collect();
    assert_eq!((revisions[3] == revisions[4], revisions[5] == revisions[6], distinct.len()), (true, true, 5));
}

/// A month at each of its publications, from nothing but its loads: the slow and obvious way.
const REFERENCE: &str = "
    WITH in_force AS (
        SELECT m.tenant_key, m.usage_month, m.published_at, l.load_id, l.usage_day, l.source, l.digest, l.record_count
        FROM usage_month m JOIN usage_load l USING (tenant_key, usage_month)
        WHERE l.published_at <= m.published_at AND NOT EXISTS (
            SELECT FROM usage_load newer
            WHERE newer.tenant_key = l.tenant_key AND newer.usage_day = l.usage_day AND newer.source = l.source
              AND newer.published_at > l.published_at AND newer.published_at <= m.published_at)
    )
    SELECT concat_ws(' ', tenant_key, usage_month, published_at, encode(sha256(convert_to(
               (SELECT tenant_id FROM tenant t WHERE t.tenant_key = f.tenant_key) || to_char(usage_month, ' YYYY-MM') || E'\\n', 'UTF8')
               || coalesce(string_agg(convert_to(to_char(usage_day, 'YYYY-MM-DD ') || source || ' ', 'UTF8') || digest, ''
                                      ORDER BY usage_day, source) FILTER (WHERE record_count > 0), '')), 'hex')) AS line
    FROM in_force f GROUP BY tenant_key, usage_month, published_at
    UNION ALL
    SELECT concat_ws(' ', f.tenant_key, usage_month, published_at, meter_key, billing_region, trial, sum(t.record_count),
                     trim_scale(sum(quantity)))
    FROM in_force f JOIN usage_total t USING (tenant_key, load_id)
    GROUP BY f.tenant_key, usage_month, published_at, meter_key, billing_region, trial
    ORDER BY line";
const WRITTEN: &str = "
    SELECT concat_ws(' ', tenant_key, usage_month, published_at, encode(revision, 'hex')) AS line FROM usage_month
    UNION ALL
    SELECT concat_ws(' ', tenant_key, usage_month, published_at, meter_key, billing_region, trial, record_count, quantity)
    FROM usage_month_total
    ORDER BY line";

async fn lines(sql: &tokio_postgres::Client, query: &str) -> Vec<String> {
    sql.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_month_is_what_its_loads_in_force_add_up_to() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    publish(&database).await;
    let day = |day: &str, quantity: &str| Row::on(day, quantity);
    // As many digits as there are, a carry, and sums that lose decimal places again.
    let (most, least) = ("9".repeat(38), format!("0.{}1", "0".repeat(36)));
    for rows in [
        vec![day("2022-02-05", &most), day("2022-02-06", &least), day("2022-02-06", "1").bandwidth()],
        vec![day("2022-02-05", "1.50"), day("2022-02-06", "0.50"), day("2022-03-01", "0")],
        // A meter that is there no more.
        vec![day("2022-02-06", "7").with("billingRegion", "NA")],
    ] {
        database.import(&csv(&rows)).await;
    }
    for (tenant, date) in [(TENANT, "2022-02-06"), (TENANT, "2022-03-01"), (TENANT_2, "2022-02-02")] {
        database.withdraw(tenant, date).await.unwrap();
    }
    database.import(&csv(&[day("2022-02-02", "5").with("tenantId", TENANT_2)])).await;
    let sql = database.sql().await;
    let written = lines(&sql, WRITTEN).await;
    assert!(written.len() > 40, "{written:?}");
    assert_eq!(written, lines(&sql, REFERENCE).await);
    let empty = "SELECT count(*) FROM usage_month WHERE totals = '{}'";
    assert_eq!(sql.query_one(empty, &[]).await.unwrap().get::<_, i64>(0), 1, "all of a month was withdrawn");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Whatever is delivered, restated and withdrawn, in whatever order.
    #[test]
    fn months_of_any_history_are_what_their_loads_add_up_to(
        history in prop::collection::vec(prop::collection::vec((0..2_u8, 1..4_u32, 0..3_u8, "[0-9]{1,3}(\\.[0-9]{1,4})?"), 1..6), 1..12)
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let database = Database::migrated();
            database.apply(CATALOG).await;
            for (number, delivery) in history.iter().enumerate() {
                let row = |(index, (tenant, date, kind, quantity)): (usize, &(u8, u32, u8, String))| {
                    let row = Row::on(&format!("2022-02-{date:02}"), quantity).asset(&index.to_string());
                    let row = if *kind == 1 { row.bandwidth() } else { row.with("trial", if *kind == 2 { "TRUE" } else { "FALSE" }) };
                    row.with("tenantId", [TENANT, TENANT_2][usize::from(*tenant)])
                };
                let rows: Vec<Row> = delivery.iter().enumerate().map(row).collect();
                database.import_from(["default", "second"][number % 2], &csv(&rows)).await;
                if delivery.len() == 1 {
                    // Of which there may be nothing.
                    let _ = database.withdraw(TENANT, "2022-02-01").await;
                }
            }
            let sql = database.sql().await;
            prop_assert_eq!(lines(&sql, WRITTEN).await, lines(&sql, REFERENCE).await);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn totals_of_their_own_rows_are_carried_over() {
    let database = Database::empty();
    let sql = database.sql().await;
    let migrate = async |versions: std::ops::RangeInclusive<u32>| {
        for version in versions {
            let file = std::fs::read_to_string(format!("migrations/{}", file_of(version))).unwrap();
            sql.batch_execute(&format!("BEGIN; {file}; COMMIT")).await.unwrap();
        }
    };
    migrate(1..=19).await;
    sql.batch_execute(
        "INSERT INTO organization VALUES (gen_random_uuid(), 'Acme', 'USD');
        INSERT INTO tenant (tenant_id, organization_id, organization_name, name, status, plan, trial, search_text)
            SELECT gen_random_uuid(), organization_id, name, 'acme', 3, 'p', false, '' FROM organization;
        INSERT INTO meter (meter_id, name, unit) SELECT gen_random_uuid(), 'meter-' || n, 'h' FROM generate_series(1, 3) n;
        INSERT INTO usage_import (source, file_name, imported_by, published_at) VALUES ('s', 'f', 'me', now());
        -- The third day is empty.
        INSERT INTO usage_load (tenant_key, usage_month, usage_day, source, import_id, digest, record_count, published_at,
                                digest_version)
            SELECT 1, '2022-02-01', '2022-02-01'::date + n, 's', 1, sha256(''), n % 3 * 6, now() + n * interval '1 s', 1
            FROM generate_series(1, 4) n;
        INSERT INTO usage_total
            SELECT 1, load_id, meter, region, region = 2, load_id % 3, 0.50 + meter * load_id
            FROM usage_load, generate_series(3, 1, -1) meter, generate_series(4, 1, -2) region WHERE record_count > 0;
        SELECT add_usage_months('{1}', '{2022-02-01}', published_at) FROM usage_load ORDER BY published_at",
    )
    .await
    .unwrap();
    let trimmed =
        "SELECT concat_ws(' ', tenant_key, usage_month, published_at, meter_key, billing_region, trial, record_count,
            trim_scale(quantity)) FROM usage_month_total ORDER BY 1";
    let loads = "SELECT t::text FROM usage_total t ORDER BY 1";
    let before = (lines(&sql, loads).await, lines(&sql, trimmed).await);
    assert_eq!((before.0.len(), before.1.len()), (18, 24));
    // Who reads in the usual order, and an import that has begun, go on first.
    let (reader, importer) = (database.sql().await, database.sql().await);
    reader.batch_execute("BEGIN; SELECT count(*) FROM tenant").await.unwrap();
    let begun = "BEGIN; LOCK TABLE usage_block IN ROW EXCLUSIVE MODE; SELECT count(*) FROM usage_load";
    importer.batch_execute(begun).await.unwrap();
    let others = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        reader.batch_execute("SELECT count(*) FROM usage_month").await.unwrap();
        let load =
            "INSERT INTO usage_load (tenant_key, usage_month, usage_day, source, import_id, digest, record_count,
                                            published_at, digest_version)
            VALUES (1, '2022-02-01', '2022-02-07', 's', 1, sha256(''), 6, now() + interval '1 h', 1);
            INSERT INTO usage_total VALUES (1, 5, 1, 1, false, 6, 1); COMMIT";
        importer.batch_execute(load).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        reader.batch_execute("SELECT count(*) FROM usage_month; COMMIT").await.unwrap();
    };
    tokio::join!(migrate(20..=20), others);
    let late = "SELECT t::text FROM usage_total t WHERE load_id = 5";
    assert_eq!(lines(&sql, late).await, ["(1,5,1,1,f,6,1)"]);
    sql.batch_execute("DELETE FROM usage_load WHERE load_id = 5").await.unwrap();
    assert_eq!((lines(&sql, loads).await, lines(&sql, trimmed).await), before);
    assert_eq!(lines(&sql, WRITTEN).await, lines(&sql, REFERENCE).await);
    let cardinalities = "SELECT concat_ws(' ', l.load_id, cardinality(l.totals)) FROM usage_load l ORDER BY 1";
    assert_eq!(lines(&sql, cardinalities).await, ["1 6", "2 6", "3 0", "4 6"]);
}

#[tokio::test]
async fn what_usage_is_of_is_not_deleted_and_totals_are_sound() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let sql = database.sql().await;
    let refused = async |statement: &str, state: SqlState| {
        let error = sql.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&state), "{statement}: {error}");
    };
    for statement in [
        &format!("DELETE FROM tenant WHERE tenant_id = '{TENANT}'"),
        "DELETE FROM usage_import",
        "DELETE FROM meter WHERE meter_key IN (SELECT meter_key FROM usage_total)",
    ] {
        refused(statement, SqlState::FOREIGN_KEY_VIOLATION).await;
    }
    sql.batch_execute(&format!("DELETE FROM tenant WHERE tenant_id = '{TENANT_2}'")).await.unwrap();
    sql.batch_execute("DELETE FROM price_tier; DELETE FROM price; DELETE FROM meter WHERE meter_key NOT IN (SELECT meter_key FROM usage_total)")
        .await
        .unwrap();
    for total in [
        "NULL",
        "(,1,f,1,1)",
        "(1,0,f,1,1)",
        "(1,5,f,1,1)",
        "(1,1,,1,1)",
        "(1,,f,1,1)",
        "(1,1,f,,1)",
        "(1,1,f,1,)",
        "(1,1,f,0,1)",
        "(1,1,f,1,-1)",
    ] {
        for table in ["usage_load", "usage_month"] {
            let total = if total == "NULL" { total.to_owned() } else { format!("\"{total}\"") };
            refused(&format!("UPDATE {table} SET totals = '{{{total}}}'"), SqlState::CHECK_VIOLATION).await;
        }
    }
}
