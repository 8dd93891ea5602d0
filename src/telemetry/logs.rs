//! Sets up logs and traces.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::traces::{ENDPOINTS, Traces};

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
    /// Whether the audit log is written unless the directives set it otherwise.
    pub audit: bool,
}

/// Guard of logs and traces. [`end`](Self::end) sends the last traces.
pub struct Logs(Option<Traces>);

// === impl Logs ===

impl Logs {
    /// Starts logging.
    pub fn start(config: &LogConfig, traces: Option<Traces>) -> Self {
        let lines =
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match config.format {
            LogFormat::Pretty => lines.with_target(false).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(lines.with_filter(filter(config)))
            .with(traces.as_ref().map(Traces::layer))
            .init();
        Self(traces)
    }

    /// Sends the remaining traces.
    pub fn end(self) {
        self.0.iter().for_each(Traces::shut_down);
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

fn filter(config: &LogConfig) -> EnvFilter {
    let default = config.default_level;
    let mut directives = config.directives.clone().unwrap_or_else(|| default.to_owned());
    // A level does not change the audit log; only a directive for `audit` does.
    let names_audit =
        |directive: &str| directive.split(['=', '[']).next().is_some_and(|target| target.trim() == "audit");
    if config.audit && !directives.split(',').any(names_audit) {
        directives.push_str(",audit=info");
    }
    EnvFilter::try_new(&directives).unwrap_or_else(|error| {
        eprintln!("warning: --log: {error}; logging at {default}");
        EnvFilter::new(default)
    })
}
