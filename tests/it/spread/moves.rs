//! Records that are moved to another worker while they are read and written.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use secure_connect_reports::client::{Client, ClientConfig};

use super::{february, server, spread_database};
use crate::support::{
    Machines,
    builder::{CATALOG, Row, TENANT, csv},
    proxy::{Fate, Proxy},
    rounds, to_csv,
};

const ROWS: usize = 60_000;
const SLOW: Fate = Fate { cut_after: u64::MAX, pause: Duration::from_millis(1) };

/// Moves a tenant's records, with those of others in its shard, to the worker that does not have them.
async fn move_away(sql: &tokio_postgres::Client, mode: &str) {
    let there = "SELECT p.shardid, n.nodename FROM tenant t
        JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('asset', t.tenant_key)
        JOIN pg_dist_node n USING (groupid) WHERE t.tenant_id::text = $1";
    let row = sql.query_one(there, &[&TENANT]).await.unwrap();
    let (shard, from): (i64, String) = (row.get(0), row.get(1));
    let other = "SELECT nodename FROM pg_dist_node WHERE nodename <> $1 AND groupid <> 0";
    let to: String = sql.query_one(other, &[&from]).await.unwrap().get(0);
    let go = format!("SELECT citus_move_shard_placement({shard}, '{from}', 5432, '{to}', 5432, '{mode}')");
    // While a month is made, nothing is moved.
    while let Err(error) = sql.batch_execute(&go).await {
        let message = error.as_db_error().unwrap().message();
        assert!(message.starts_with("could not acquire the lock required to move"), "{message}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What it leaves behind is deleted a while later by itself; here at once, under whoever reads it.
    sql.batch_execute("CALL citus_cleanup_orphaned_resources()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus"]
async fn downloads_and_imports_go_on_while_their_records_move() {
    let machines = Machines::with_citus(&[]);
    let database = spread_database(&machines, "moves", CATALOG).await;
    let rows: Vec<Row> = (0..ROWS).map(|n| Row::on("2022-02-01", "0.25").bulky(n)).collect();
    database.import(&csv(&rows)).await;
    database.import(&csv(&[Row::on("2022-03-01", "0")])).await;
    let servers = [server(&database.url, None), server(&database.url, Some(machines.workers_url("moves")))];
    let before = servers[0].csv(&february(TENANT)).await;
    assert_eq!(before.0, csv(&rows));
    let sql = database.sql().await;
    let (mut imports, mut refused) = (0, 0);
    for mode in ["block_writes", "auto"] {
        for server in &servers {
            let (mut moves, mut beside_downloads, is_over) = (0, 0, AtomicBool::new(false));
            let download = async {
                for _ in 0..rounds(2) {
                    let proxy = Proxy::start(server.address, |_| SLOW).await;
                    let mut client = Client::connect(&ClientConfig::new(&proxy.url)).await.unwrap();
                    let download = client.detailed_usage(&february(TENANT)).await.unwrap();
                    assert!(to_csv(download).await == before.0, "{mode}");
                }
                is_over.store(true, Ordering::Relaxed);
            };
            let go_away = async {
                while !is_over.load(Ordering::Relaxed) {
                    move_away(&sql, mode).await;
                    moves += 1;
                    beside_downloads += u32::from(!is_over.load(Ordering::Relaxed));
                }
            };
            // Into other months of the same tenant, with assets that are new.
            let import = async {
                for _ in 0..3 {
                    imports += 1;
                    let asset = format!("new-{imports}");
                    let later = csv(&[Row::on("2022-03-01", &imports.to_string()).asset(&asset)]);
                    database.import(&later).await;
                    // A month that is not there yet has to wait.
                    let first = csv(&[Row::on(&format!("{}-01-01", 1990 + imports), "1").asset(&asset)]);
                    while let Err(error) = database.try_import(&first, "default", false).await {
                        let unavailable = "the database is not available: there is no room for a month of it yet: ";
                        assert!(error.to_string().starts_with(unavailable), "{error}");
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            };
            tokio::join!(download, go_away, import);
            eprintln!("{moves} moves, {beside_downloads} of them within downloads");
            assert!(beside_downloads > 0, "{mode}");
        }
    }
    assert!(refused > 0, "no month was made beside a move");
    for server in &servers {
        assert_eq!(server.csv(&february(TENANT)).await, before);
    }
}
