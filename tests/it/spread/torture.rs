//! Machines are killed in turns while tenants import, close their months, read and download. What was seen once is seen again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt as _;
use secure_connect_reports::{
    auth::TenantScope,
    billing::{CloseOutcome, CloseRequest, Closer},
    client::{Client, ClientConfig, UsageQuery},
    contract::proto::{GetDetailedUsageRequest, YearMonth},
    embedded::EphemeralServer,
    model::UtcTime,
    store::{self, PurgeRules, Store},
};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::server;
use crate::support::{
    Database, Machines, Server,
    builder::{CATALOG, ORG, Row, csv},
    calls::{monthly_costs, reason},
    proxy::{Fate, Proxy},
    rng, rounds, to_csv,
};

const TENANTS: usize = 8;
/// One more has a report that takes a while, and stays as it is.
const LARGE: usize = TENANTS;
const LARGE_ASSETS: usize = 20_000;
const ASSETS: usize = 40;
const DAYS: u32 = 3;
/// Nothing finishes what was cut off between two machines, but this test.
const SETTINGS: [(&str, &str); 2] = [("citus.recover_2pc_interval", "-1"), ("synchronous_commit", "on")];

/// A tenant, the moment it is read as of, and the revision that was found.
type Seen = (usize, UtcTime, String);

struct Scene {
    database: Database,
    /// One reads by way of the coordinator, one at the workers.
    servers: [Server; 2],
    is_over: AtomicBool,
    /// The quantity that each tenant's day was last imported with, and those of imports that were refused since.
    imported: Mutex<BTreeMap<(usize, u32), Vec<u32>>>,
    reads: Mutex<Vec<Seen>>,
    downloads: Mutex<Vec<(Seen, String)>>,
    /// The digest of each closed month's statement.
    statements: Mutex<Vec<(String, Vec<u8>)>>,
    refused: Mutex<BTreeMap<&'static str, u32>>,
}

fn tenant(n: usize) -> String {
    format!("bbbbbbbb-0000-4000-8000-0000000001{n:02}")
}

fn catalog() -> String {
    let one = |n: usize| {
        format!(
            "[[tenants]]\nid = \"{}\"\norganization_id = \"{ORG}\"\nname = \"many-{n}\"\nplan = \"essentials\"\nstatus = \"NORMAL\"\n",
            tenant(n)
        )
    };
    let more: String = (0..=LARGE).map(one).collect();
    CATALOG.replace("2022-01", "2000-01").replacen("[[meters]]", &format!("{more}[[meters]]"), 1)
}

/// A tenant's day: all of it has one quantity, and its assets change from one import to the next.
fn day(of: usize, day: &str, quantity: u32) -> Vec<Row> {
    let row = |n: usize| Row::on(day, &quantity.to_string()).of(ORG, &tenant(of)).bulky(n + quantity as usize % 7);
    let assets = if of == LARGE { LARGE_ASSETS } else { ASSETS };
    (0..assets).map(row).collect()
}

fn february(of: usize, as_of: Option<UtcTime>) -> UsageQuery {
    UsageQuery { as_of, ..UsageQuery::new(tenant(of).parse().unwrap(), "2022-02".parse().unwrap()) }
}

fn now() -> UtcTime {
    UtcTime::from_chrono(chrono::Utc::now())
}

/// A month that is closed, from January 2000 on.
fn old_month(n: usize) -> String {
    format!("{:04}-{:02}", 2000 + n / 12, n % 12 + 1)
}

impl Scene {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    async fn refused(&self, what: &'static str) {
        *self.refused.lock().unwrap().entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Imports until it succeeds, or until all is over.
    async fn import(&self, content: &str) -> bool {
        while self.goes_on() {
            match self.database.try_import(content, "default", false).await {
                Ok(_) => return true,
                Err(_) => self.refused("imports").await,
            }
        }
        false
    }

    async fn imports(&self, of: usize) {
        for n in 1.. {
            let on = 1 + n % DAYS;
            // What was refused was not published, so that another quantity may follow.
            let content = csv(&day(of, &format!("2022-02-{on:02}"), n));
            if !self.goes_on() {
                return;
            }
            let result = self.database.try_import(&content, "default", false).await;
            if result.is_ok() {
                self.imported.lock().unwrap().insert((of, on), vec![n]);
            } else {
                self.imported.lock().unwrap().entry((of, on)).or_default().push(n);
                self.refused("imports").await;
            }
        }
    }

    async fn closes(&self) {
        let config = self.database.config();
        for n in 0.. {
            let month = old_month(n);
            let rows: Vec<Row> = (0..TENANTS).flat_map(|of| day(of, &format!("{month}-01"), 7)).collect();
            if !self.import(&csv(&rows)).await {
                return;
            }
            while self.goes_on() {
                let Ok(mut closer) = Closer::open(Store::new(&config).unwrap(), &config, None, "test").await else {
                    self.refused("closes").await;
                    continue;
                };
                match closer.close(&TenantScope::operator(), &close(&month)).await {
                    Ok(closed) => {
                        assert_eq!(closed.cost.to_string(), "22.40");
                        self.statements.lock().unwrap().push((month, closed.statement.unwrap().digest.to_vec()));
                        break;
                    }
                    Err(_) => self.refused("closes").await,
                }
            }
        }
    }

    /// One call after the other, of callers who do not try again.
    async fn reads(&self, server: usize) {
        let mut stub = self.servers[server].stub().await;
        for n in 0.. {
            if !self.goes_on() {
                return;
            }
            let (of, moment) = (n % TENANTS, now());
            let request = GetDetailedUsageRequest {
                tenant_id: tenant(of),
                month: Some(YearMonth { year: 2022, month: 2 }),
                as_of: Some(moment.into()),
                ..Default::default()
            };
            let read = async { stub.get_detailed_usage(request).await?.into_inner().try_collect::<Vec<_>>().await };
            match read.await {
                Ok(messages) => {
                    let revision = messages[0].header.as_ref().unwrap().revision.clone();
                    assert!(messages.last().unwrap().summary.is_some(), "it ends as it should");
                    self.reads.lock().unwrap().push((of, moment, revision));
                }
                Err(status) => {
                    assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()), "{status}");
                    assert!(status.get_details_retry_info().is_some(), "{status}");
                    self.refused("reads").await;
                }
            }
        }
    }

    /// By a slow network, of a client that resumes.
    async fn downloads(&self, tenants: std::ops::RangeInclusive<usize>) {
        let addresses = self.servers.iter().map(|server| server.address).collect();
        let fate = |n| Fate { cut_after: if n % 2 == 0 { 20_000 } else { u64::MAX }, pause: Duration::from_millis(1) };
        let proxy = Proxy::between(addresses, fate).await;
        let config = ClientConfig { retry_for: Duration::from_secs(120), ..ClientConfig::new(&proxy.url) };
        for of in tenants.cycle() {
            if !self.goes_on() {
                return;
            }
            let moment = now();
            let mut client = Client::connect(&config).await.expect("a client");
            let download = client.detailed_usage(&february(of, Some(moment))).await.expect("a report");
            let revision = download.header().revision.clone();
            let csv = to_csv(download).await;
            self.downloads.lock().unwrap().push(((of, moment, revision), csv));
        }
    }
}

fn close(month: &str) -> CloseRequest {
    CloseRequest {
        organization_id: ORG.parse().unwrap(),
        month: month.parse().unwrap(),
        allow_unpriced: false,
        allow_missing_days: true,
        dry_run: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn workers_that_are_killed_change_nothing_that_was_seen() {
    let scene = torture(false).await;
    // All that is published lies elsewhere.
    assert_eq!(scene.refused.lock().unwrap().get("closes"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn nor_does_a_coordinator_that_is_killed() {
    torture(true).await;
}

async fn torture(kills_coordinator: bool) -> Arc<Scene> {
    let machines = Machines::with_citus(&SETTINGS);
    let url = machines.make_migrated("torture").await;
    store::distribute(&url).await.unwrap();
    let database = Database::at(&url);
    database.apply(&catalog()).await;
    for of in 0..TENANTS {
        let first: Vec<Row> = (1..=DAYS).flat_map(|on| day(of, &format!("2022-02-{on:02}"), 0)).collect();
        database.import(&csv(&first)).await;
    }
    database.import(&csv(&day(LARGE, "2022-02-01", 0))).await;
    let scene = Arc::new(Scene {
        servers: [server(&url, None), server(&url, Some(machines.workers_url("torture")))],
        database,
        is_over: AtomicBool::new(false),
        imported: Mutex::new((0..TENANTS).flat_map(|of| (1..=DAYS).map(move |on| ((of, on), vec![0]))).collect()),
        reads: Mutex::default(),
        downloads: Mutex::default(),
        statements: Mutex::default(),
        refused: Mutex::default(),
    });
    let mut actors = JoinSet::new();
    let of_scene = || Arc::clone(&scene);
    for of in 0..TENANTS {
        let scene = of_scene();
        actors.spawn(async move { scene.imports(of).await });
    }
    for (server, tenants) in [(0, 0..=TENANTS - 1), (1, LARGE..=LARGE)] {
        let (reader, downloader) = (of_scene(), of_scene());
        actors.spawn(async move { reader.reads(server).await });
        actors.spawn(async move { downloader.downloads(tenants).await });
    }
    let closer = of_scene();
    actors.spawn(async move { closer.closes().await });

    let victims: Vec<&EphemeralServer> =
        if kills_coordinator { vec![&machines.first] } else { machines.workers.iter().collect() };
    let (mut rng, rounds, mut cut_off) = (rng(), rounds(8), 0);
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..1500))).await;
        let victim = victims[round as usize % victims.len()];
        victim.crash().unwrap();
        tokio::time::sleep(Duration::from_millis(rng.u64(50..1500))).await;
        victim.recover().unwrap();
        // In between, what was cut off between two machines stays so.
        if round % 4 == 3 {
            let sql = scene.database.sql().await;
            let finish = "SELECT recover_prepared_transactions()";
            cut_off += sql.query_one(finish, &[]).await.unwrap().get::<_, i32>(0);
        }
        while let Some(failed) = actors.try_join_next() {
            failed.expect("nobody gives up");
        }
    }
    let sql = scene.database.sql().await;
    sql.batch_execute("SELECT recover_prepared_transactions()").await.unwrap();
    scene.is_over.store(true, Ordering::Relaxed);
    while let Some(actor) = actors.join_next().await {
        actor.unwrap();
    }
    scene.check(rounds, cut_off, kills_coordinator).await;
    scene
}

impl Scene {
    /// A coordinator that was killed may have published what the importer was not told of.
    async fn check(&self, crashes: u32, cut_off: i32, kills_coordinator: bool) {
        let sql = self.database.sql().await;
        // No load is lost, none is there that was refused, and each is whole.
        let imported = std::mem::take(&mut *self.imported.lock().unwrap());
        let mut lost = 0;
        for of in 0..TENANTS {
            let report = self.servers[1].csv(&february(of, None)).await.0;
            let of_day = |on: u32| {
                let may_be = if kills_coordinator { &imported[&(of, on)][..] } else { &imported[&(of, on)][..1] };
                let days = may_be.iter().map(|&n| day(of, &format!("2022-02-{on:02}"), n));
                days.map(|rows| csv(&rows)).find(|rows| report.contains(rows.split_once('\n').expect("a header").1))
            };
            let days: Vec<String> = (1..=DAYS).filter_map(of_day).collect();
            let is_all = report.lines().count() == 1 + DAYS as usize * ASSETS;
            lost += u32::from(days.len() < DAYS as usize || !is_all);
        }
        // What was read is what is read, by the other way.
        let (reads, downloads) = (self.reads.lock().unwrap().clone(), self.downloads.lock().unwrap().clone());
        let mut changed = 0;
        for (n, (of, moment, revision)) in reads.iter().enumerate() {
            changed += u32::from(self.servers[n % 2].csv(&february(*of, Some(*moment))).await.1 != *revision);
        }
        let mut different = 0;
        for (n, ((of, moment, revision), report)) in downloads.iter().enumerate() {
            let again = self.servers[n % 2].csv(&february(*of, Some(*moment))).await;
            different += u32::from(again.0 != *report || again.1 != *revision);
        }
        // The detail reconciles with the bill, as of each of some moments.
        let mut unreconciled = 0;
        for (_, moment, _) in reads.iter().step_by(reads.len().div_ceil(20)) {
            let mut detail = 0_u64;
            for of in 0..=LARGE {
                let report = self.servers[1].csv(&february(of, Some(*moment))).await.0;
                let quantities = csv_quantities(&report);
                let whole = if of == LARGE { LARGE_ASSETS } else { ASSETS * DAYS as usize };
                assert_eq!(quantities.len(), whole, "each load is whole");
                detail += quantities.iter().sum::<u64>();
            }
            let mut request = monthly_costs(ORG);
            request.as_of = Some((*moment).into());
            let costs = self.servers[0].stub().await.get_monthly_costs(request).await.unwrap().into_inner();
            let billed: u64 = costs.lines.iter().map(|line| line.quantity.parse::<u64>().unwrap()).sum();
            unreconciled += u32::from(billed != detail);
        }
        let statements = self.statements.lock().unwrap().clone();
        let config = self.database.config();
        let mut closer = Closer::open(Store::new(&config).unwrap(), &config, None, "test").await.unwrap();
        let mut rewritten = 0;
        for (month, digest) in &statements {
            let again = closer.close(&TenantScope::operator(), &close(month)).await.unwrap();
            rewritten += u32::from(
                again.outcome != CloseOutcome::Unchanged || again.statement.unwrap().digest.to_vec() != *digest,
            );
        }
        // What imports left that did not come to their end goes.
        let rules = PurgeRules { superseded_for: None, months_before: Some("1990-01".parse().unwrap()) };
        store::purge(&self.database.url, rules, Duration::from_secs(300), false).await.unwrap();
        let left = "SELECT count(*) FROM (SELECT tenant_key, load_id FROM usage_block OFFSET 0) r WHERE NOT EXISTS (
            SELECT FROM usage_load l WHERE l.tenant_key = r.tenant_key AND l.load_id = r.load_id)";
        let left: i64 = sql.query_one(left, &[]).await.unwrap().get(0);
        let loads: i64 = sql.query_one("SELECT count(*) FROM usage_load", &[]).await.unwrap().get(0);

        let refused = self.refused.lock().unwrap();
        eprintln!(
            "{crashes} crashes, {cut_off} commits cut off between machines; {loads} loads, {lost} tenants that lost one; {} reads, \
             {changed} changed; {} downloads, {different} differ; {} statements, {rewritten} rewritten; {unreconciled} moments \
             not reconciled; {left} blocks left; refused while a worker was away: {refused:?}",
            reads.len(),
            downloads.len(),
            statements.len(),
        );
        assert_eq!((lost, changed, different, rewritten, unreconciled, left), (0, 0, 0, 0, 0, 0));
        for (what, count) in [("reads", reads.len()), ("downloads", downloads.len()), ("statements", statements.len())]
        {
            assert!(count >= crashes as usize / 4, "{count} {what}");
        }
    }
}

fn csv_quantities(report: &str) -> Vec<u64> {
    let mut reader = csv::Reader::from_reader(report.as_bytes());
    let at = reader.headers().unwrap().iter().position(|name| name == "quantity").expect("a column");
    reader.records().map(|record| record.unwrap()[at].parse().unwrap()).collect()
}
