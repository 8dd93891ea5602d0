//! Logs, and traces where they are sent.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::args::{Args, Command, LogFormat};
use crate::trace::{ENDPOINTS, Traces};

/// What is written while it lives.
pub(super) struct Log(Option<Traces>);

// === impl Log ===

impl Log {
    /// Begins, within the runtime of the program.
    pub(super) fn start(args: &Args) -> Result<Self, String> {
        let traces = match &args.command {
            Command::Serve(serve) => traces(serve.otlp_endpoint.as_deref())?,
            _ => None,
        };
        let lines =
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match args.log_format {
            LogFormat::Pretty => lines.with_target(false).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(lines.with_filter(filter(args)))
            .with(traces.as_ref().map(Traces::layer))
            .init();
        Ok(Self(traces))
    }

    /// Sends what is left.
    pub(super) fn end(self) {
        self.0.iter().for_each(Traces::shut_down);
    }
}

fn traces(endpoint: Option<&str>) -> Result<Option<Traces>, String> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if endpoint.is_none() && !ENDPOINTS.iter().any(is_set) {
        return Ok(None);
    }
    Traces::start(endpoint).map(Some)
}

/// What is logged.
fn filter(args: &Args) -> EnvFilter {
    let default = match args.command {
        Command::Serve(_) => "info",
        _ => "warn",
    };
    let mut directives = args.log.clone().unwrap_or_else(|| default.to_owned());
    // A level is about the program's own words. Who called is told unless the audit log is named and set otherwise.
    let names_audit =
        |directive: &str| directive.split(['=', '[']).next().is_some_and(|target| target.trim() == "audit");
    if matches!(args.command, Command::Serve(_)) && !directives.split(',').any(names_audit) {
        directives.push_str(",audit=info");
    }
    EnvFilter::try_new(&directives).unwrap_or_else(|error| {
        eprintln!("warning: --log: {error}; logging at {default}");
        EnvFilter::new(default)
    })
}
