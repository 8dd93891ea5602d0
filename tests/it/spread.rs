//! Records on the workers of Citus. `make test-citus` runs these, and those of the store with records that are spread.

mod moves;
mod torture;

use std::{process::Stdio, time::Duration};

use futures_util::TryStreamExt as _;
use secure_connect_reports::{
    auth::AuthConfig,
    client::UsageQuery,
    contract::proto::GetMonthlyCostsResponse,
    service::ServerConfig,
    store::{self, Distributed, Layout, StoreConfig},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Machines, Server,
    builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    calls::{detailed_usage, monthly_costs, reason},
    program, run, settle,
};

const TENANTS: [(&str, &str); 3] = [(ORG, TENANT), (ORG, TENANT_2), (ORG_EUR, TENANT_EUR)];

fn rows(day: &str) -> Vec<Row> {
    let of = |(organization, tenant): (&str, &str), n: usize| {
        Row::on(day, &format!("{n}.5")).of(organization, tenant).asset(&format!("asset-{n:04}"))
    };
    TENANTS.iter().flat_map(|&tenant| (0..1500).map(move |n| of(tenant, n))).collect()
}

/// A database with this catalog, whose records lie on the workers.
async fn spread_database(machines: &Machines, name: &str, catalog: &str) -> Database {
    let url = machines.make_migrated(name).await;
    store::distribute(&url).await.unwrap();
    let database = Database::at(&url);
    database.apply(catalog).await;
    database
}

fn server(url: &str, workers: Option<String>) -> Server {
    let store = StoreConfig { records_database_url: workers, ..StoreConfig::new(url) };
    let open = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    Server::start(ServerConfig::new(store, open))
}

fn february(tenant: &str) -> UsageQuery {
    UsageQuery::new(tenant.parse().unwrap(), "2022-02".parse().unwrap())
}

async fn reports(server: &Server) -> Vec<(String, String)> {
    let mut reports = Vec::new();
    for (_, tenant) in TENANTS {
        reports.push(server.csv(&february(tenant)).await);
    }
    reports
}

async fn costs(server: &Server) -> Vec<GetMonthlyCostsResponse> {
    let mut stub = server.stub().await;
    let mut costs = Vec::new();
    for organization in [ORG, ORG_EUR] {
        costs.push(stub.get_monthly_costs(monthly_costs(organization)).await.unwrap().into_inner());
    }
    costs
}

/// What a caller who does not try again is told.
async fn refusal(server: &Server, tenant: &str) -> Option<Status> {
    match server.stub().await.get_detailed_usage(detailed_usage(tenant)).await {
        Ok(answer) => answer.into_inner().try_collect::<Vec<_>>().await.err(),
        Err(status) => Some(status),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn records_are_spread_once_and_read_as_before() {
    let machines = Machines::with_citus(&[]);
    let url = machines.make_migrated("filled").await;
    let database = Database::at(&url);
    database.apply(CATALOG).await;
    database.import(&csv(&rows("2022-02-01"))).await;
    assert_eq!(store::layout(&url).await.unwrap(), Layout::Spreadable);
    let before = reports(&server(&url, None)).await;

    let command = |more: &[&str]| run(program().arg("migrate").args(more).env("DATABASE_URL", &url));
    let (done, told, _) = command(&[]);
    assert!(done && told.contains("`migrate --distribute` spreads them"), "{told}");
    let (done, told, error) = command(&["--distribute", "--grant-to", "reader=reads,writer=writes"]);
    assert!(done && told.contains("records are spread over 2 workers of Citus, now"), "{told}{error}");
    assert_eq!(store::distribute(&url).await.unwrap(), Distributed { workers: 2, is_new: false });
    let (done, told, error) = command(&["--distribute", "--grant-to", "reader=reads,writer=writes"]);
    assert!(done && told.contains("records are spread over 2 workers of Citus, as before"), "{told}{error}");
    assert_eq!(store::layout(&url).await.unwrap(), Layout::Apart);

    assert_eq!(left_here(&database).await, 0);
    let sql = database.sql().await;

    // Each account by the way that is meant for it.
    sql.batch_execute("ALTER ROLE reads LOGIN; ALTER ROLE writes LOGIN").await.unwrap();
    let by = |role: &str, url: &str| url.replace("user=postgres", &format!("user={role}"));
    let workers = by("reads", &machines.workers_url("filled"));
    for server in [server(&by("reads", &url), None), server(&by("reads", &url), Some(workers.clone()))] {
        assert_eq!(reports(&server).await, before);
        assert_eq!(server.metric("scr_records_apart").await, 1.0);
    }
    Database::at(&by("writes", &url)).import(&csv(&rows("2022-02-02"))).await;
    let after = reports(&server(&by("reads", &url), None)).await;
    assert_ne!(after, before);
    let at_workers = server(&by("reads", &url), Some(workers));
    assert_eq!(reports(&at_workers).await, after);
    // They are read where they are, and nowhere else.
    assert_eq!(at_workers.metric("scr_database_connections{pool=\"export\"}").await, 0.0);
    assert!(
        at_workers.metric("scr_database_connections{pool=\"records\"}").await >= 1.0,
        "{}",
        at_workers.metrics().await
    );

    // What people with SQL see is there, and says what it is.
    let count: i64 = sql.query_one("SELECT count(*) FROM detailed_usage_report", &[]).await.unwrap().get(0);
    assert_eq!(count, 9000);
    let comments = "SELECT count(*) FROM pg_description d JOIN pg_class c ON c.oid = d.objoid
        WHERE c.relname IN ('asset', 'usage_block', 'usage_record', 'detailed_usage_report')";
    assert_eq!(sql.query_one(comments, &[]).await.unwrap().get::<_, i64>(0), 24);
}

/// Bytes of records on the coordinator.
async fn left_here(database: &Database) -> i64 {
    let local = "SELECT sum(pg_relation_size(oid))::bigint FROM pg_class
        WHERE relkind = 'r' AND (relname = 'asset' OR relname LIKE 'usage_block%')";
    database.sql().await.query_one(local, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn spreading_that_is_killed_has_done_all_or_nothing() {
    let machines = Machines::with_citus(&[]);
    let url = machines.make_migrated("killed").await;
    let database = Database::at(&url);
    database.apply(CATALOG).await;
    database.import(&csv(&rows("2022-02-01"))).await;
    let server = server(&url, None);
    let before = reports(&server).await;
    let (mut done, mut killed) = (0, 0);
    for delay in (0..).step_by(60) {
        let mut command = program();
        command.args(["migrate", "--distribute"]).env("DATABASE_URL", &url).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        child.kill().unwrap();
        let is_whole = child.wait().unwrap().success();
        settle(&database).await;
        assert!(reports(&server).await == before, "killed after {delay} ms");
        done += u32::from(store::layout(&url).await.unwrap() == Layout::Apart);
        killed += u32::from(!is_whole);
        if is_whole {
            break;
        }
    }
    assert!(killed >= 3 && done >= 1, "{killed} {done}");
    assert_eq!(store::distribute(&url).await.unwrap(), Distributed { workers: 2, is_new: false });
    assert_eq!(left_here(&database).await, 0);
    database.import(&csv(&rows("2022-02-02"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn a_worker_that_is_away_concerns_its_tenants_only() {
    let machines = Machines::with_citus(&[]);
    let database = spread_database(&machines, "spread", CATALOG).await;
    let url = &database.url;
    database.import(&csv(&rows("2022-02-01"))).await;
    let server = server(url, Some(machines.workers_url("spread")));
    let (mut all, mut bills) = (reports(&server).await, costs(&server).await);

    let (sql, mut refused, mut refused_imports) = (database.sql().await, 0, 0);
    for (number, worker) in machines.workers.iter().enumerate() {
        let here = "SELECT t.tenant_id::text FROM tenant t
            JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('asset', t.tenant_key)
            JOIN pg_dist_node n ON n.groupid = p.groupid WHERE n.nodename = $1";
        let here: Vec<String> = sql
            .query(here, &[&worker.socket_folder().display().to_string()])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        worker.crash().unwrap();
        for ((_, tenant), report) in TENANTS.iter().zip(&all) {
            match refusal(&server, tenant).await {
                Some(status) if here.contains(&(*tenant).to_owned()) => {
                    assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()), "{status}");
                    assert!(status.get_details_retry_info().is_some(), "{status}");
                    refused += 1;
                }
                Some(status) => panic!("{tenant} is not on worker {number}: {status}"),
                None => assert_eq!(&server.csv(&february(tenant)).await, report, "{tenant}"),
            }
        }
        assert_eq!(costs(&server).await, bills);
        // Others are imported for, in months that are there.
        let is_here = |tenant: &str| here.contains(&tenant.to_owned());
        let other = TENANTS.iter().position(|(_, tenant)| !is_here(tenant));
        let day =
            |of: (&str, &str), month: &str| csv(&[Row::on(&format!("{month}-{:02}", number + 10), "1").of(of.0, of.1)]);
        for of in TENANTS {
            let is_sound = !is_here(of.1) && Some(of) == other.map(|n| TENANTS[n]);
            let months = if is_sound { &["2022-02", "2021-12"][..] } else { &["2022-02"] };
            for month in months.iter().filter(|_| is_sound || is_here(of.1)) {
                let error = database.try_import(&day(of, month), "default", false).await.err();
                let is_there = is_sound && *month == "2022-02";
                assert_eq!(error.is_none(), is_there, "{of:?} {month} {error:?}");
                if let Some(error) = error {
                    assert!(error.to_string().starts_with("the database is not available: "), "{error}");
                    refused_imports += 1;
                }
            }
        }
        worker.recover().unwrap();
        let after = reports(&server).await;
        for (n, (report, before)) in after.iter().zip(&all).enumerate() {
            assert_eq!(report == before, Some(n) != other, "{n}");
        }
        all = after;
        bills = costs(&server).await;
    }
    assert_eq!(refused, TENANTS.len());
    // Of each, and the first of a month of those that were sound.
    assert!(refused_imports > TENANTS.len(), "{refused_imports}");
}

/// The newest migrations are applied again, and then what others may have to do with tables whose rows lie elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn later_migrations_reach_records_on_workers() {
    let machines = Machines::with_citus(&[]);
    let database = spread_database(&machines, "later", CATALOG).await;
    let url = &database.url;
    database.import(&csv(&rows("2022-02-01"))).await;
    let at_workers = server(url, Some(machines.workers_url("later")));
    let before = reports(&at_workers).await;
    let sql = database.sql().await;
    let count = "SELECT count(*) FROM detailed_usage_report";
    // Back to the one before that of the view.
    sql.batch_execute(
        "DELETE FROM refinery_schema_history WHERE version >= 23;
        ALTER TABLE unpublished_import DROP COLUMN record_count, DROP COLUMN discarded_at",
    )
    .await
    .unwrap();
    store::migrate(url).await.unwrap();
    assert_eq!(sql.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 4500);
    sql.batch_execute(
        "BEGIN;
        DO $$ BEGIN
            ALTER TABLE asset ADD COLUMN later smallint NOT NULL DEFAULT 7;
            ALTER TABLE usage_block ADD COLUMN later smallint NOT NULL DEFAULT 7;
            ALTER TABLE usage_block ADD CONSTRAINT later_is_more CHECK (later > 6);
            CREATE INDEX asset_later ON asset (tenant_key, later);
            DROP INDEX asset_later;
            ALTER TABLE usage_block ALTER COLUMN later DROP NOT NULL;
            ALTER TABLE asset RENAME COLUMN later TO sooner;
        END $$;
        COMMENT ON COLUMN usage_block.later IS 'Seven.';
        COMMIT",
    )
    .await
    .unwrap();
    let sevens = "SELECT sum(later)::bigint / count(*) FROM usage_block WHERE tenant_key = 1";
    assert_eq!(sql.query_one(sevens, &[]).await.unwrap().get::<_, i64>(0), 7);
    assert_eq!(reports(&at_workers).await, before);
    // Into partitions that there are, and into new ones.
    database.import(&csv(&rows("2022-02-02"))).await;
    database.import(&csv(&rows("2022-03-01"))).await;
    assert_eq!(sql.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 13_500);
    assert_eq!(store::distribute(url).await.unwrap(), Distributed { workers: 2, is_new: false });
}

/// By Citus itself, and not by a catalog that looks like its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn other_layouts_are_refused() {
    let machines = Machines::with_citus(&[]);
    let url = machines.make_migrated("other").await;
    let sql = Database::at(&url).sql().await;
    for (statement, tables) in [
        ("SELECT create_distributed_table('usage_block', 'tenant_key')", "usage_block"),
        ("SELECT create_distributed_table('asset', 'tenant_key', colocate_with => 'none')", "asset, usage_block"),
    ] {
        sql.batch_execute(statement).await.unwrap();
        let refusals = [
            store::layout(&url).await.unwrap_err().to_string(),
            store::distribute(&url).await.unwrap_err().to_string(),
        ];
        for refusal in refusals {
            let expected = format!("Citus has distributed tables of this service ({tables}) in another way");
            assert!(refusal.contains(&expected), "{refusal}");
        }
    }
    // As the refusal says.
    for table in ["asset", "usage_block"] {
        sql.batch_execute(&format!("SELECT undistribute_table('{table}', cascade_via_foreign_keys => true)"))
            .await
            .unwrap();
    }
    assert_eq!(store::distribute(&url).await.unwrap(), Distributed { workers: 2, is_new: true });
}
