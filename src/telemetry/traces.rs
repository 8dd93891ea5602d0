//! OpenTelemetry traces: a span for each call, from its headers to the end of its answer, and one for each of its statements.
//! A caller may send the trace context that the call belongs to (W3C Trace Context).

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Status, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tonic::transport::ClientTlsConfig;
use tracing::{Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

const NAME: &str = env!("CARGO_PKG_NAME");
/// How long sending the last spans may take: a collector that does not answer must not delay the end of the program.
const END_LIMIT: Duration = Duration::from_secs(1);

/// OpenTelemetry's own variables for the collector's address. The first that is set counts.
pub const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Sends spans until it is shut down.
pub struct Traces(SdkTracerProvider);

struct Headers<'a>(&'a HeaderMap);

// === impl Traces ===

impl Traces {
    /// Sends spans to a collector, by OTLP over gRPC; without an endpoint, to that of `OTEL_EXPORTER_OTLP_ENDPOINT`. Needs a
    /// tokio runtime around it.
    pub fn start(endpoint: Option<&str>) -> Result<Self, String> {
        let exporter = SpanExporter::builder().with_tonic();
        let exporter = match endpoint {
            Some(endpoint) => exporter.with_endpoint(endpoint),
            None => exporter,
        };
        // The library trusts no authority by default.
        let variables = ENDPOINTS.iter().find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()));
        let is_tls = endpoint.map(str::to_owned).or(variables).is_some_and(|url| url.starts_with("https:"));
        let exporter =
            if is_tls { exporter.with_tls_config(ClientTlsConfig::new().with_native_roots()) } else { exporter };
        let exporter = exporter.build().map_err(|error| format!("traces cannot be sent: {error}"))?;
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(NAME);
        }
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
    }

    /// Sends the spans of this program, and not those of libraries.
    pub fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(NAME))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target("secure_connect_reports", LevelFilter::DEBUG))
    }

    /// Sends the last spans.
    pub fn shut_down(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(END_LIMIT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

// === impl Headers ===

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// The span of a call, below that of its caller.
pub fn call(rpc: &'static str, request_id: &str, headers: &HeaderMap) -> Span {
    // Fields that are missing here are missing in the log too.
    let span = tracing::info_span!("call", request_id, otel.name = rpc, otel.kind = "server");
    // It fails where no traces are sent.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    span.set_attribute("rpc.system.name", "grpc");
    span.set_attribute("rpc.method", rpc);
    span
}

pub fn call_ended(span: &Span, code: &'static str, reason: &str, rows: u64) {
    span.set_attribute("rpc.response.status_code", code);
    span.set_attribute("scr.rows", i64::try_from(rows).unwrap_or(i64::MAX));
    if code == "OK" {
        return;
    }
    span.set_attribute("error.type", if reason.is_empty() { code } else { reason }.to_owned());
    // By the conventions, a fault of the caller is no error of the server's span.
    if ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"].contains(&code) {
        span.set_status(Status::error(reason.to_owned()));
    }
}

/// The span of a statement. Its text begins with a comment that names it.
pub fn statement(sql: &str) -> Span {
    let name = || {
        let text = sql.trim_start().trim_start_matches("COPY (");
        let text = text.strip_prefix("-- ").or_else(|| text.strip_prefix("/* ")).unwrap_or("statement");
        text.split(['\n', '*']).next().unwrap_or_default().trim().to_owned()
    };
    tracing::debug_span!(
        "statement",
        otel.name = name(),
        otel.kind = "client",
        db.system.name = "postgresql",
        db.query.summary = name(),
    )
}
