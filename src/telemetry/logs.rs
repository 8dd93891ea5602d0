//! Sets up logs and traces.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use chrono::{SecondsFormat, Utc};
use serde_json::json;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::{
    lines::{AUDIT_LOG, LOG, Lines, WhenFull},
    rate_limit::RateLimit,
    sinks::{LogFile, StandardError},
    traces::{ENDPOINTS, Traces},
};

/// The target of the audit log's lines.
pub const AUDIT: &str = "audit";
/// Of this program. Libraries log errors alone, unless a directive names them: callers can make some of them write all the time.
const PROGRAM: &str = env!("CARGO_CRATE_NAME");
/// How long the end of the program waits for lines that nobody reads.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A level, or directives such as `info,tonic=debug`; `None`: the default level.
    pub directives: Option<String>,
    /// The level without directives.
    pub default_level: &'static str,
    pub format: LogFormat,
    /// `None`: not a server. Lines are written at once, and there is no audit log.
    pub server: Option<ServerLogs>,
}

/// What a server logs, in the background: no caller waits for whoever reads it.
#[derive(Clone, Debug)]
pub struct ServerLogs {
    /// The file of the audit log, and what to do where it takes no more lines. `None`: it goes with the other lines.
    pub audit_file: Option<(PathBuf, WhenFull)>,
}

/// Guard of logs and traces. [`end`](Self::end) sends what is left.
pub struct Logs {
    traces: Option<Traces>,
    lines: Vec<Lines>,
    audit: Option<Lines>,
}

// === impl Logs ===

impl Logs {
    /// Starts logging.
    ///
    /// # Errors
    ///
    /// The file of the audit log cannot be written.
    pub fn start(config: &LogConfig, traces: Option<Traces>) -> io::Result<Self> {
        let Some(server) = &config.server else {
            let lines = formatted(config.format, io::stderr).with_filter(filter(config));
            tracing_subscriber::registry().with(lines).with(traces.as_ref().map(Traces::layer)).init();
            return Ok(Self { traces, lines: Vec::new(), audit: None });
        };
        let notice = match config.format {
            LogFormat::Pretty => dropped_text,
            LogFormat::Json => dropped_json,
        };
        let log = Lines::start(LOG, StandardError::open()?, WhenFull::Drop, notice)?;
        let audit = match &server.audit_file {
            None => None,
            Some((path, when_full)) => {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("--audit-log {path:?}: {error}"));
                let file = LogFile::open(path).map_err(named)?;
                Some(Lines::start(AUDIT_LOG, file, *when_full, dropped_json).map_err(named)?)
            }
        };
        let notice = match config.format {
            LogFormat::Pretty => suppressed_text,
            LogFormat::Json => suppressed_json,
        };
        let limit = RateLimit::new(AUDIT, log.clone(), notice);
        let audited = audit.clone().map(|audit| {
            let only = Targets::new().with_target(AUDIT, LevelFilter::INFO);
            formatted(LogFormat::Json, audit).with_filter(only)
        });
        tracing_subscriber::registry()
            .with(formatted(config.format, log.clone()).with_filter(filter(config).and(limit)))
            .with(audited)
            .with(traces.as_ref().map(Traces::layer))
            .init();
        // The usual hook writes to standard error, and waits for whoever reads it.
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
        let lines = [Some(log), audit.clone()].into_iter().flatten().collect();
        let reserves = |(_, when_full): &(_, WhenFull)| *when_full == WhenFull::Reserved;
        let audit = audit.filter(|_| server.audit_file.as_ref().is_some_and(reserves));
        Ok(Self { traces, lines, audit })
    }

    /// The audit log, where each call has to [reserve](Lines::reserve) room in it.
    pub fn reserved_audit(&self) -> Option<Lines> {
        self.audit.clone()
    }

    /// Sends the remaining traces, and writes the remaining lines.
    pub fn end(self) {
        self.traces.iter().for_each(Traces::shut_down);
        self.lines.iter().for_each(|lines| lines.flush(FLUSH_LIMIT));
    }
}

/// Traces, if an endpoint is configured. Must run within a tokio runtime.
pub fn traces(endpoint: Option<&str>) -> Result<Option<Traces>, String> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if endpoint.is_none() && !ENDPOINTS.iter().any(is_set) {
        return Ok(None);
    }
    Traces::start(endpoint).map(Some)
}

fn formatted<S>(
    format: LogFormat,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Pretty => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn filter(config: &LogConfig) -> EnvFilter {
    let given = config.directives.as_deref().unwrap_or(config.default_level);
    let mut directives = directives(given);
    // A level does not change the audit log; only a directive for `audit` does.
    if let Some(server) = &config.server
        && !given.split(',').any(|directive| target_of(directive) == Some(AUDIT))
    {
        directives.push_str(if server.audit_file.is_some() { ",audit=off" } else { ",audit=info" });
    }
    EnvFilter::try_new(&directives).unwrap_or_else(|error| {
        eprintln!("warning: --log: {error}; logging at {}", config.default_level);
        EnvFilter::new(self::directives(config.default_level))
    })
}

/// A level by itself is this program's.
fn directives(given: &str) -> String {
    let own = |directive: &str| match target_of(directive) {
        None if !directive.trim().is_empty() => format!("{PROGRAM}={}", directive.trim()),
        _ => directive.to_owned(),
    };
    let directives: Vec<String> = given.split(',').map(own).collect();
    format!("error,{}", directives.join(","))
}

/// `None`: the directive is a level.
fn target_of(directive: &str) -> Option<&str> {
    let directive = directive.trim();
    if directive.parse::<LevelFilter>().is_ok() {
        return None;
    }
    directive.split(['=', '[']).next().map(str::trim)
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn dropped_text(lines: u64) -> String {
    format!("{} WARN {lines} lines of this log were dropped: they were not read fast enough\n", now())
}

fn dropped_json(lines: u64) -> String {
    let message = "lines of this log were dropped: they were not read or written fast enough";
    format!("{}\n", json!({"timestamp": now(), "level": "WARN", "message": message, "lines": lines, "target": PROGRAM}))
}

fn suppressed_text(metadata: &Metadata<'_>, lines: u64) -> String {
    let (level, name) = (metadata.level(), metadata.name());
    format!("{} {level} {lines} more lines were suppressed: {name}\n", now())
}

fn suppressed_json(metadata: &Metadata<'_>, lines: u64) -> String {
    let (level, name) = (metadata.level().as_str(), metadata.name());
    let message = "more lines were suppressed";
    let line = json!({
        "timestamp": now(), "level": level, "message": message, "lines": lines, "name": name, "target": metadata.target(),
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_of_this_program_and_libraries_are_named() {
        for (given, expected) in [
            ("info", "error,secure_connect_reports=info"),
            ("debug,h2=warn", "error,secure_connect_reports=debug,h2=warn"),
            ("secure_connect_reports=trace", "error,secure_connect_reports=trace"),
            ("warn,audit=off", "error,secure_connect_reports=warn,audit=off"),
            ("off", "error,secure_connect_reports=off"),
            (" info , [call]=debug", "error,secure_connect_reports=info, [call]=debug"),
        ] {
            assert_eq!(directives(given), expected);
        }
    }
}
