//! The metrics of a server, for Prometheus. Those of calls are named by OpenTelemetry's semantic conventions for RPC; the others
//! begin with `scr_`. `docs/operations.md` lists them.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

use super::{lines::dropped_lines, rate_limit::suppressed_lines};
use crate::contract::Reason;

/// Buckets of durations, in seconds: first those of the conventions, then those for long downloads.
const DURATION_BOUNDS: [f64; 18] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 120.0, 600.0, 3600.0];

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    duration: Family<CallLabels, Histogram>,
    running: Family<RpcLabels, Gauge>,
    failures: Family<FailureLabels, Counter>,
    rows: Family<RpcLabels, Counter>,
    bytes: Family<RpcLabels, Counter>,
    resumed: Counter,
    imported_loads: Family<OutcomeLabels, Counter>,
    connections: Gauge,
    refused_connections: Counter,
    serving: Gauge,
    records_apart: Gauge,
    newest_load: Gauge<f64, AtomicU64>,
}

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct CallMetrics<'a> {
    /// Service and method.
    pub rpc: &'static str,
    pub code: &'static str,
    /// Empty where there is none.
    pub reason: &'a str,
    /// From the request's headers to the end of the answer.
    pub duration: Duration,
    /// Rows that were sent or received.
    pub rows: u64,
    /// Bytes of the answer, before compression and TLS.
    pub bytes: u64,
}

/// Alerts are made of these: their counters begin at 0, so that the first failure is an increase.
const ALERTING: [Reason; 5] =
    [Reason::Internal, Reason::Panic, Reason::DatabaseUnavailable, Reason::Overloaded, Reason::StatementTimeout];

/// A pool of database connections.
#[derive(Clone, Copy, Debug)]
pub struct PoolState {
    pub pool: &'static str,
    pub limit: usize,
    pub open: usize,
    pub used: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    rpc_system_name: &'static str,
    rpc_method: &'static str,
    rpc_response_status_code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc_method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    rpc_method: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
}

/// Asks for the state of the pools each time metrics are read.
struct Pools(Box<dyn Fn() -> Vec<PoolState> + Send + Sync>);

/// Name and help of a metric, and its value.
type PoolNumber = (&'static str, &'static str, fn(&PoolState) -> usize);

// === impl Metrics ===

impl Metrics {
    /// `pools` is called each time metrics are read.
    pub fn new(pools: impl Fn() -> Vec<PoolState> + Send + Sync + 'static) -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::default(),
            duration: Family::new_with_constructor(|| Histogram::new(DURATION_BOUNDS)),
            running: Family::default(),
            failures: Family::default(),
            rows: Family::default(),
            bytes: Family::default(),
            resumed: Counter::default(),
            imported_loads: Family::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            serving: Gauge::default(),
            records_apart: Gauge::default(),
            newest_load: Gauge::default(),
        };
        metrics.register_calls();
        metrics.register_server();
        metrics.registry.register_collector(Box::new(Pools(Box::new(pools))));
        // They begin at 0.
        for outcome in ["published", "restated", "withdrawn", "unchanged"] {
            drop(metrics.imported_loads.get_or_create(&OutcomeLabels { outcome }));
        }
        Arc::new(metrics)
    }

    fn register_calls(&mut self) {
        let registry = &mut self.registry;
        registry.register_with_unit(
            "rpc_server_call_duration",
            "How long calls took, from the request's headers to the end of the answer",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register("scr_running_calls", "Calls that are running", self.running.clone());
        registry.register(
            "scr_call_failures",
            "Calls that failed, by the reason that callers are told",
            self.failures.clone(),
        );
        registry.register("scr_rows", "Rows that were sent, or taken in by imports", self.rows.clone());
        registry.register("scr_response_bytes", "Bytes of answers", self.bytes.clone());
        registry.register("scr_resumed_downloads", "Downloads that went on from a resume token", self.resumed.clone());
        registry.register("scr_imported_loads", "Loads that imports over gRPC delivered", self.imported_loads.clone());
    }

    fn register_server(&mut self) {
        let registry = &mut self.registry;
        registry.register("scr_connections", "Connections of callers", self.connections.clone());
        registry.register(
            "scr_refused_connections",
            "Connections that were closed because there were too many",
            self.refused_connections.clone(),
        );
        registry.register("scr_serving", "1 while health says SERVING, else 0", self.serving.clone());
        registry.register(
            "scr_records_apart",
            "1 where records lie on the machines of Citus, 0 where they lie with everything else",
            self.records_apart.clone(),
        );
        registry.register_with_unit(
            "scr_newest_load_timestamp",
            "When the newest load was published, by whatever way; 0: not known",
            Unit::Seconds,
            self.newest_load.clone(),
        );
        registry.register(
            "scr_dropped_log_lines",
            "Lines of a log that were not written: it was not read fast enough",
            dropped_lines(),
        );
        registry.register(
            "scr_suppressed_log_lines",
            "Lines of the log that were not written: their place in the code had logged as many as it may",
            suppressed_lines(),
        );
        registry.register("scr_build", "This program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// In the text format of OpenMetrics 1.0, which Prometheus reads.
    pub fn to_text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Begins the counters that alerts are made of at 0, for calls of these names.
    pub fn expect_calls(&self, rpcs: impl IntoIterator<Item = &'static str>) {
        for rpc_method in rpcs {
            for reason in ALERTING {
                drop(self.failures.get_or_create(&FailureLabels { rpc_method, reason: reason.to_string() }));
            }
        }
    }

    pub fn call_began(&self, rpc: &'static str) {
        self.running.get_or_create(&RpcLabels { rpc_method: rpc }).inc();
    }

    pub fn call_ended(&self, call: &CallMetrics<'_>) {
        let rpc = RpcLabels { rpc_method: call.rpc };
        self.running.get_or_create(&rpc).dec();
        let labels = CallLabels { rpc_system_name: "grpc", rpc_method: call.rpc, rpc_response_status_code: call.code };
        self.duration.get_or_create(&labels).observe(call.duration.as_secs_f64());
        self.rows.get_or_create(&rpc).inc_by(call.rows);
        self.bytes.get_or_create(&rpc).inc_by(call.bytes);
        if call.code != "OK" {
            let reason = if call.reason.is_empty() { call.code } else { call.reason };
            let labels = FailureLabels { rpc_method: call.rpc, reason: reason.to_owned() };
            self.failures.get_or_create(&labels).inc();
        }
    }

    pub fn download_resumed(&self) {
        self.resumed.inc();
    }

    pub fn loads_imported(&self, outcome: &'static str, count: u64) {
        self.imported_loads.get_or_create(&OutcomeLabels { outcome }).inc_by(count);
    }

    pub fn connected(&self) {
        self.connections.inc();
    }

    pub fn disconnected(&self) {
        self.connections.dec();
    }

    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    pub fn set_serving(&self, serving: bool) {
        self.serving.set(serving.into());
    }

    pub fn set_records_apart(&self, apart: bool) {
        self.records_apart.set(apart.into());
    }

    /// When the newest load was published, in seconds since the Unix epoch.
    pub fn set_newest_load(&self, seconds: f64) {
        self.newest_load.set(seconds);
    }
}

// === impl Pools ===

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pools")
    }
}

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = (self.0)();
        let numbers: [PoolNumber; 4] = [
            ("scr_database_connections_limit", "Connections to the database that there may be", |state| state.limit),
            ("scr_database_connections", "Connections to the database", |state| state.open),
            ("scr_database_connections_used", "Connections to the database in use", |state| state.used),
            ("scr_database_waiting_calls", "Calls that wait for a connection to the database", |state| state.waiting),
        ];
        for (name, help, number) in numbers {
            let metric_type = ConstGauge::new(0_i64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            for state in &states {
                let gauge = ConstGauge::new(i64::try_from(number(state)).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&PoolLabels { pool: state.pool })?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_show_what_was_counted() {
        let state = PoolState { pool: "short", limit: 8, open: 3, used: 2, waiting: 1 };
        let metrics = Metrics::new(move || vec![state]);
        let rpc = "secureconnect.reports.v1.ReportsService/GetDetailedUsage";
        metrics.expect_calls([rpc]);
        metrics.call_began(rpc);
        metrics.call_began(rpc);
        let call =
            CallMetrics { rpc, code: "OK", reason: "", duration: Duration::from_millis(30), rows: 1024, bytes: 99 };
        metrics.call_ended(&call);
        metrics.call_ended(&CallMetrics { code: "UNAVAILABLE", reason: "OVERLOADED", ..call });
        let text = metrics.to_text().expect("a text");
        for line in [
            format!(
                "rpc_server_call_duration_seconds_bucket{{le=\"0.025\",rpc_system_name=\"grpc\",rpc_method=\"{rpc}\",rpc_response_status_code=\"OK\"}} 0"
            ),
            format!(
                "rpc_server_call_duration_seconds_bucket{{le=\"0.05\",rpc_system_name=\"grpc\",rpc_method=\"{rpc}\",rpc_response_status_code=\"OK\"}} 1"
            ),
            format!("scr_running_calls{{rpc_method=\"{rpc}\"}} 0"),
            format!("scr_rows_total{{rpc_method=\"{rpc}\"}} 2048"),
            format!("scr_call_failures_total{{rpc_method=\"{rpc}\",reason=\"OVERLOADED\"}} 1"),
            "scr_database_connections{pool=\"short\"} 3".to_owned(),
            "scr_database_waiting_calls{pool=\"short\"} 1".to_owned(),
            "scr_imported_loads_total{outcome=\"restated\"} 0".to_owned(),
            format!("scr_call_failures_total{{rpc_method=\"{rpc}\",reason=\"INTERNAL\"}} 0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
