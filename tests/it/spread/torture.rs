//! Machines are killed in turns while tenants import, close their months, read and download. What was seen once is seen again.

mod check;

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
    billing::{CloseRequest, Closer},
    client::{Client, ClientConfig, UsageQuery},
    contract::proto::GetDetailedUsageResponse,
    embedded::EphemeralServer,
    model::UtcTime,
    store::Store,
};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{server, spread_database};
use crate::support::{
    Database, Machines, Server,
    builder::{CATALOG, ORG, Row, csv},
    calls::reason,
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

/// A tenant, the moment it is read as of, the revision that was found, and what the answer had.
type Seen = (usize, UtcTime, String, String);

struct Scene {
    database: Database,
    /// One reads by way of the coordinator, one at the workers.
    servers: [Server; 2],
    is_over: AtomicBool,
    /// The quantity that each tenant's day was last imported with, and those of imports that were refused since.
    imported: Mutex<BTreeMap<(usize, u32), Vec<u32>>>,
    reads: Mutex<Vec<Seen>>,
    downloads: Mutex<Vec<Seen>>,
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

    /// Each is told that another try may succeed.
    async fn refused(&self, what: &'static str, error: &(dyn std::error::Error + Send + Sync)) {
        assert!(error.to_string().starts_with("the database is not available"), "{what}: {error}");
        *self.refused.lock().unwrap().entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Imports until it succeeds, or until all is over.
    async fn import(&self, content: &str) -> bool {
        while self.goes_on() {
            match self.database.try_import(content, "default", false).await {
                Ok(_) => return true,
                Err(error) => self.refused("imports", &error).await,
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
            if let Err(error) = self.database.try_import(&content, "default", false).await {
                self.imported.lock().unwrap().entry((of, on)).or_default().push(n);
                self.refused("imports", &error).await;
            } else {
                self.imported.lock().unwrap().insert((of, on), vec![n]);
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
                let closed = async {
                    let mut closer = Closer::open(Store::new(&config)?, &config, None, "test").await?;
                    closer.close(&TenantScope::operator(), &close(&month)).await
                };
                match closed.await {
                    Ok(closed) => {
                        assert_eq!(closed.cost.to_string(), "22.40");
                        self.statements.lock().unwrap().push((month, closed.statement.unwrap().digest.to_vec()));
                        break;
                    }
                    Err(error) => self.refused("closes", &error).await,
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
            let request = february(of, Some(moment)).to_request();
            let read = async { stub.get_detailed_usage(request).await?.into_inner().try_collect::<Vec<_>>().await };
            match read.await {
                Ok(messages) => {
                    let revision = messages[0].header.as_ref().unwrap().revision.clone();
                    self.reads.lock().unwrap().push((of, moment, revision, seen(&messages)));
                }
                Err(status) => {
                    assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()), "{status}");
                    assert!(status.get_details_retry_info().is_some(), "{status}");
                    let error = std::io::Error::other(status.message());
                    self.refused("reads", &error).await;
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
            self.downloads.lock().unwrap().push((of, moment, revision, csv));
        }
    }
}

/// The records of an answer, which ends as it should.
fn seen(messages: &[GetDetailedUsageResponse]) -> String {
    assert!(messages.last().unwrap().summary.is_some());
    messages.iter().flat_map(|message| &message.records).map(|record| format!("{record:?}\n")).collect()
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
    let database = spread_database(&machines, "torture", &catalog()).await;
    for of in 0..TENANTS {
        let first: Vec<Row> = (1..=DAYS).flat_map(|on| day(of, &format!("2022-02-{on:02}"), 0)).collect();
        database.import(&csv(&first)).await;
    }
    database.import(&csv(&day(LARGE, "2022-02-01", 0))).await;
    let scene = Arc::new(Scene {
        servers: [server(&database.url, None), server(&database.url, Some(machines.workers_url("torture")))],
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
