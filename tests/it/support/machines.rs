//! The PostgreSQL of the tests: one server, or, with `TEST_CITUS=1`, a coordinator of Citus and two workers that the records lie on.

use std::{sync::LazyLock, time::Duration};

use secure_connect_reports::{embedded::EphemeralServer, store};

use super::connect;

/// What is copied for each test.
const TEMPLATE: &str = "migrated";
const CITUS: [(&str, &str); 5] = [
    ("shared_preload_libraries", "citus"),
    ("wal_level", "logical"),
    ("max_prepared_transactions", "200"),
    ("max_connections", "400"),
    // Each database wants one for maintenance, and goes without: so nothing recovers transactions behind a test's back.
    ("max_worker_processes", "16"),
];

pub(crate) struct Machines {
    /// Where tests connect to.
    pub(crate) first: EphemeralServer,
    /// The workers of Citus.
    pub(crate) workers: Vec<EphemeralServer>,
}

/// Whether records lie on machines of their own.
pub(crate) static IS_SPREAD: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TEST_CITUS").is_some());

impl Machines {
    /// Starts what the tests share, with these settings.
    pub(super) fn start(settings: &[(&str, &str)]) -> Self {
        if *IS_SPREAD {
            return Self::with_citus(settings);
        }
        let server = EphemeralServer::start_with(settings, &[]).expect("the tests need a PostgreSQL server");
        Self { first: server, workers: Vec::new() }
    }

    /// Starts a coordinator and two workers.
    pub(crate) fn with_citus(settings: &[(&str, &str)]) -> Self {
        let settings = [settings, &CITUS].concat();
        let start = || EphemeralServer::start_with(&settings, &[]).expect("a PostgreSQL server that has Citus");
        Self { first: start(), workers: vec![start(), start()] }
    }

    fn all(&self) -> impl Iterator<Item = &EphemeralServer> {
        std::iter::once(&self.first).chain(&self.workers)
    }

    /// Makes a database whose nodes know each other, with the current schema, and records that lie with everything else.
    pub(crate) async fn make_migrated(&self, name: &str) -> String {
        for server in self.all() {
            let admin = connect(&server.database_url("postgres")).await;
            admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
            if self.workers.is_empty() {
                continue;
            }
            let host = server.socket_folder().display();
            admin.batch_execute(&format!("ALTER SYSTEM SET citus.local_hostname = '{host}'")).await.unwrap();
            admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
            let sql = connect(&server.database_url(name)).await;
            sql.batch_execute("CREATE EXTENSION citus").await.expect("Citus");
        }
        let url = self.first.database_url(name);
        let sql = connect(&url).await;
        let host = |server: &EphemeralServer| server.socket_folder().display().to_string();
        if !self.workers.is_empty() {
            let coordinator = format!("SELECT citus_set_coordinator_host('{}', 5432)", host(&self.first));
            sql.batch_execute(&coordinator).await.expect("a coordinator");
        }
        for worker in &self.workers {
            sql.batch_execute(&format!("SELECT citus_add_node('{}', 5432)", host(worker))).await.expect("a worker");
        }
        store::migrate(&url).await.expect("migrations");
        url
    }

    /// The workers as the hosts of one connection string.
    pub(crate) fn workers_url(&self, database: &str) -> String {
        let hosts: Vec<_> = self.workers.iter().map(|worker| worker.socket_folder().display().to_string()).collect();
        format!("host={} user=postgres dbname={database}", hosts.join(","))
    }

    /// Makes the database that tests get copies of.
    pub(super) async fn make_template(&self) {
        let url = self.make_migrated(TEMPLATE).await;
        if *IS_SPREAD {
            store::distribute(&url).await.expect("records that are spread");
        }
        for server in self.all() {
            let admin = connect(&server.database_url("postgres")).await;
            // Citus connects to it by itself, and what is copied must be at rest.
            let close = format!(
                "ALTER DATABASE {TEMPLATE} WITH ALLOW_CONNECTIONS false;
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
            );
            admin.batch_execute(&close).await.unwrap();
        }
    }

    /// Makes a copy of the template, or a database without anything.
    pub(super) async fn make_database(&self, name: &str, migrated: bool) {
        let template = if migrated { TEMPLATE } else { "template0" };
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        for server in self.all() {
            let admin = connect(&server.database_url("postgres")).await;
            // The migration's connection may take a moment to go away.
            for attempt in 0.. {
                match admin.batch_execute(&create).await {
                    Ok(()) => break,
                    Err(error) if attempt < 100 && error.to_string().contains("db error") => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(error) => panic!("{create}: {error:?}"),
                }
            }
        }
    }

    /// Three copies of each database would fill a disk; what one server has goes with it.
    pub(super) async fn end_database(&self, name: &str) {
        for server in self.all().filter(|_| *IS_SPREAD) {
            let admin = connect(&server.database_url("postgres")).await;
            // A test that failed may have left a machine in any state.
            let _ = admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}
