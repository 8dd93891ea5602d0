//! The limits of `serve`.

use std::time::Duration;

use clap::{Args as ClapArgs, value_parser};

use crate::{
    ingest::ImportLimits,
    model::Month,
    service::ConnectionLimits,
    service::{CallLimit, CallLimits},
};

/// What callers may take of the server.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct LimitsArgs {
    /// Open connections of callers. Further ones are closed at once. The soft limit of file descriptors is raised to
    /// match, as far as the hard limit allows; the log says so if that is not enough.
    #[arg(long, env = "SCR_MAX_CONNECTIONS", default_value_t = 1000, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_connections: u32,
    /// How long a new connection may take for its TLS handshake, and then for the first 24 bytes of HTTP/2.
    #[arg(long, env = "SCR_HANDSHAKE_SECONDS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    handshake_seconds: u64,
    /// How often the server pings a connection. A connection that does not answer for as long is closed.
    #[arg(long, env = "SCR_KEEPALIVE_SECONDS", default_value_t = 30, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    keepalive_seconds: u64,
    /// The maximum age of a connection. It then takes no new calls and ends when it has none; clients reconnect by
    /// themselves. This closes idle connections, and lets load balancers distribute callers anew. 0: no limit.
    #[arg(long, env = "SCR_MAX_CONNECTION_AGE_SECONDS", default_value_t = 1800, value_parser = value_parser!(u64).range(..=31_536_000), value_name = "SECONDS")]
    max_connection_age_seconds: u64,
    /// How long running calls may continue on a connection that has reached its maximum age. It is then closed, and
    /// downloads continue on another one.
    #[arg(long, env = "SCR_MAX_CONNECTION_AGE_GRACE_SECONDS", default_value_t = 3600, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    max_connection_age_grace_seconds: u64,
    /// Concurrent calls on one connection (HTTP/2 streams). Clients hold further calls back by themselves.
    #[arg(long, env = "SCR_MAX_CALLS_PER_CONNECTION", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_calls_per_connection: u32,
    /// Bytes that a client may send on a connection before the server has read them. An importer far away sends so much in each
    /// round trip; all connections together can have the server keep so much each.
    #[arg(long, env = "SCR_CONNECTION_WINDOW_BYTES", default_value_t = 65_536, value_parser = value_parser!(u32).range(65_535..=2_147_483_647), value_name = "BYTES")]
    connection_window_bytes: u32,
    /// Calls of a connection that may be cancelled before the server handled them. Beyond that, the connection is
    /// closed.
    #[arg(long, env = "SCR_MAX_RESETS", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_resets: u32,
    /// The maximum size of a call's headers, which include the token; at least 1024.
    #[arg(long, env = "SCR_MAX_HEADER_BYTES", default_value_t = 65_536, value_parser = value_parser!(u32).range(1024..), value_name = "BYTES")]
    max_header_bytes: u32,
    /// The maximum size of one request message; at least 1024.
    #[arg(long, env = "SCR_MAX_REQUEST_BYTES", default_value_t = 4_194_304, value_parser = value_parser!(u32).range(1024..), value_name = "BYTES")]
    max_request_bytes: u32,
    /// Concurrent calls with long answers, such as `GetDetailedUsage` and `GetCostBreakdown`. Further ones are refused with `OVERLOADED`.
    #[arg(long, env = "SCR_MAX_DOWNLOADS", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_downloads: u32,
    /// Concurrent calls with long answers of one caller. Further ones are refused with `CALLER_LIMIT`.
    #[arg(long, env = "SCR_MAX_DOWNLOADS_PER_CALLER", default_value_t = 20, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_downloads_per_caller: u32,
    /// Concurrent `ImportUsage` and `WithdrawUsage` calls. Each takes two database connections, 32 MiB of memory, and
    /// disk space for sorting.
    #[arg(long, env = "SCR_MAX_IMPORTS", default_value_t = 4, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_imports: u32,
    /// Concurrent `ImportUsage` and `WithdrawUsage` calls of one caller.
    #[arg(long, env = "SCR_MAX_IMPORTS_PER_CALLER", default_value_t = 3, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_imports_per_caller: u32,
    /// Other concurrent calls, running or waiting for the database.
    #[arg(long, env = "SCR_MAX_SHORT_CALLS", default_value_t = 200, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_short_calls: u32,
    /// Other concurrent calls of one caller.
    #[arg(long, env = "SCR_MAX_SHORT_CALLS_PER_CALLER", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_short_calls_per_caller: u32,
    /// Bytes of answers that wait to be read. Whoever does not read takes no place of a call but a download's, and is refused
    /// beyond this.
    #[arg(long, env = "SCR_MAX_UNREAD_BYTES", default_value_t = 67_108_864, value_parser = value_parser!(u32).range(4_194_304..=2_147_483_647), value_name = "BYTES")]
    max_unread_bytes: u32,
    /// Bytes of answers to one caller that wait to be read.
    #[arg(long, env = "SCR_MAX_UNREAD_BYTES_PER_CALLER", default_value_t = 16_777_216, value_parser = value_parser!(u32).range(4_194_304..=2_147_483_647), value_name = "BYTES")]
    max_unread_bytes_per_caller: u32,
    /// How long an answer may wait for the caller to read it, and how long a request may take to arrive. The call
    /// then ends; a stream can be resumed.
    #[arg(long, env = "SCR_STALL_SECONDS", default_value_t = 120, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    stall_seconds: u64,
    /// How long an `ImportUsage` call may pause between two messages.
    #[arg(long, env = "SCR_IMPORT_IDLE_SECONDS", default_value_t = 60, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    import_idle_seconds: u64,
    /// How long an `ImportUsage` or `WithdrawUsage` call may take in all.
    #[arg(long, env = "SCR_IMPORT_SECONDS", default_value_t = 3600, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    import_seconds: u64,
    /// The maximum number of records of an `ImportUsage` call.
    #[arg(long, env = "SCR_MAX_IMPORT_ROWS", default_value_t = 20_000_000, value_parser = value_parser!(u64).range(1..), value_name = "COUNT")]
    max_import_rows: u64,
    /// The maximum number of days of tenants in an `ImportUsage` call. Others wait while they are published.
    #[arg(long, env = "SCR_MAX_IMPORT_LOADS", default_value_t = 100_000, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_import_loads: u32,
    /// The maximum size of the temporary files of an `ImportUsage` call, which are in `TMPDIR`.
    #[arg(long, env = "SCR_MAX_IMPORT_DISK_BYTES", default_value_t = 8_589_934_592, value_parser = value_parser!(u64), value_name = "BYTES")]
    max_import_disk_bytes: u64,
    #[command(flatten)]
    months: MonthsArgs,
}

/// Which months are imported.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct MonthsArgs {
    /// The first month whose usage is imported [default: the month ten years ago]. The last one is the month after the
    /// current one: each month has a partition in the database.
    #[arg(long, env = "SCR_OLDEST_MONTH", value_name = "YYYY-MM")]
    oldest_month: Option<Month>,
}

// === impl MonthsArgs ===

impl MonthsArgs {
    /// Limits of imports by the command line, where whoever imports owns the machine.
    pub(in crate::cli) fn limits(&self) -> ImportLimits {
        ImportLimits { oldest_month: self.oldest_month, ..ImportLimits::default() }
    }
}

// === impl LimitsArgs ===

impl LimitsArgs {
    pub(in crate::cli) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            max: size(self.max_connections),
            handshake: Duration::from_secs(self.handshake_seconds),
            keepalive: Duration::from_secs(self.keepalive_seconds),
            age: Some(Duration::from_secs(self.max_connection_age_seconds)).filter(|age| !age.is_zero()),
            age_grace: Duration::from_secs(self.max_connection_age_grace_seconds),
            calls: self.max_calls_per_connection,
            header_bytes: self.max_header_bytes,
            window_bytes: self.connection_window_bytes,
            resets: size(self.max_resets),
        }
    }

    pub(in crate::cli) fn calls(&self) -> CallLimits {
        let limit = |total, per_caller| CallLimit { total: size(total), per_caller: size(per_caller) };
        CallLimits {
            downloads: limit(self.max_downloads, self.max_downloads_per_caller),
            imports: limit(self.max_imports, self.max_imports_per_caller),
            short_calls: limit(self.max_short_calls, self.max_short_calls_per_caller),
            unread_bytes: limit(self.max_unread_bytes, self.max_unread_bytes_per_caller),
            stall: Duration::from_secs(self.stall_seconds),
            import_idle: Duration::from_secs(self.import_idle_seconds),
            import_duration: Duration::from_secs(self.import_seconds),
            import: ImportLimits {
                rows: self.max_import_rows,
                loads: size(self.max_import_loads),
                disk_bytes: self.max_import_disk_bytes,
                ..self.months.limits()
            },
            request_bytes: size(self.max_request_bytes),
        }
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
