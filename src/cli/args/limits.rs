//! The limits of `serve`.

use std::time::Duration;

use clap::{Args as ClapArgs, value_parser};

use crate::{
    service::ConnectionLimits,
    service::{CallLimits, Share},
};

/// What callers may take of the server.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct LimitsArgs {
    /// Connections of callers at once; more are turned away.
    #[arg(long, env = "SCR_MAX_CONNECTIONS", default_value_t = 1000, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_connections: u32,
    /// How long a new connection may take to begin HTTP/2; before that, its TLS handshake may take as long.
    #[arg(long, env = "SCR_HANDSHAKE_SECONDS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    handshake_seconds: u64,
    /// How often a connection is asked for a sign of life; as long again without an answer, and it is closed.
    #[arg(long, env = "SCR_KEEPALIVE_SECONDS", default_value_t = 30, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    keepalive_seconds: u64,
    /// How old a connection may become before its other end is asked to make another one; calls that are running go on. 0: as
    /// old as it likes.
    #[arg(long, env = "SCR_MAX_CONNECTION_AGE_SECONDS", default_value_t = 1800, value_parser = value_parser!(u64).range(..=31_536_000), value_name = "SECONDS")]
    max_connection_age_seconds: u64,
    /// Calls at once on one connection; more wait at the client.
    #[arg(long, env = "SCR_MAX_CALLS_PER_CONNECTION", default_value_t = 200, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_calls_per_connection: u32,
    /// Calls that a peer may give up before they are looked at; beyond, its connection is closed.
    #[arg(long, env = "SCR_MAX_RESETS", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_resets: u32,
    /// Bytes of a call's headers, a token among them.
    #[arg(long, env = "SCR_MAX_HEADER_BYTES", default_value_t = 65_536, value_parser = value_parser!(u32).range(1024..), value_name = "BYTES")]
    max_header_bytes: u32,
    /// Bytes of one message of a request.
    #[arg(long, env = "SCR_MAX_REQUEST_BYTES", default_value_t = 4_194_304, value_parser = value_parser!(u32).range(1024..), value_name = "BYTES")]
    max_request_bytes: u32,
    /// GetDetailedUsage calls at once; more are refused as OVERLOADED.
    #[arg(long, env = "SCR_MAX_DOWNLOADS", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_downloads: u32,
    /// Those of one caller; more are refused as CALLER_LIMIT.
    #[arg(long, env = "SCR_MAX_DOWNLOADS_PER_CALLER", default_value_t = 20, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_downloads_per_caller: u32,
    /// ImportUsage calls at once: each has two database connections, memory and disk.
    #[arg(long, env = "SCR_MAX_IMPORTS", default_value_t = 4, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_imports: u32,
    /// Those of one caller.
    #[arg(long, env = "SCR_MAX_IMPORTS_PER_CALLER", default_value_t = 3, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_imports_per_caller: u32,
    /// Other calls at once, running or waiting for the database.
    #[arg(long, env = "SCR_MAX_SHORT_CALLS", default_value_t = 200, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_short_calls: u32,
    /// Those of one caller.
    #[arg(long, env = "SCR_MAX_SHORT_CALLS_PER_CALLER", default_value_t = 100, value_parser = value_parser!(u32).range(1..), value_name = "COUNT")]
    max_short_calls_per_caller: u32,
    /// How long an answer may wait for its reader; a stream ends then, and can be resumed.
    #[arg(long, env = "SCR_STALL_SECONDS", default_value_t = 120, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    stall_seconds: u64,
    /// How long an importer may take between two messages.
    #[arg(long, env = "SCR_IMPORT_IDLE_SECONDS", default_value_t = 60, value_parser = value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    import_idle_seconds: u64,
}

// === impl LimitsArgs ===

impl LimitsArgs {
    pub(in crate::cli) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            max: size(self.max_connections),
            handshake: Duration::from_secs(self.handshake_seconds),
            keepalive: Duration::from_secs(self.keepalive_seconds),
            age: Some(Duration::from_secs(self.max_connection_age_seconds)).filter(|age| !age.is_zero()),
            calls: self.max_calls_per_connection,
            header_bytes: self.max_header_bytes,
            resets: size(self.max_resets),
        }
    }

    pub(in crate::cli) fn calls(&self) -> CallLimits {
        let share = |total, per_caller| Share { total: size(total), per_caller: size(per_caller) };
        CallLimits {
            downloads: share(self.max_downloads, self.max_downloads_per_caller),
            imports: share(self.max_imports, self.max_imports_per_caller),
            short_calls: share(self.max_short_calls, self.max_short_calls_per_caller),
            stall: Duration::from_secs(self.stall_seconds),
            import_idle: Duration::from_secs(self.import_idle_seconds),
            request_bytes: size(self.max_request_bytes),
        }
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
