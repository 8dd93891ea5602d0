//! The audit log: one line for each call, written when it ends, however it ends. It says who asked for what, and what
//! became of it, also where the caller was told less. It never holds tokens or what was reported. The metrics of calls
//! are taken in the same place.

use std::{
    collections::HashMap,
    fmt::Display,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::Span;

use crate::{
    auth::Principal,
    contract::Reason,
    model::{Month, OrganizationId, TenantId},
    service::policy::Rpc,
    telemetry::metrics::{CallMetrics, Metrics},
    telemetry::traces,
};

/// The target of the log lines.
const TARGET: &str = "audit";

/// What handlers note of a call while it runs.
#[derive(Clone, Default)]
pub(in crate::service) struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    subject: String,
    client_id: String,
    organization: String,
    tenant: String,
    months: String,
    truth: String,
    rows: u64,
}

/// A call. Its line is written when this is dropped, at the latest.
pub(in crate::service) struct Audit {
    call: Arc<Call>,
    open: Arc<OpenCalls>,
}

/// The calls that are running.
pub(in crate::service) struct OpenCalls {
    calls: Mutex<HashMap<usize, Weak<Call>>>,
    metrics: Arc<Metrics>,
}

/// What a line tells.
pub(in crate::service) struct Call {
    rpc: Rpc,
    metrics: Arc<Metrics>,
    request_id: String,
    peer: Option<SocketAddr>,
    started: Instant,
    deadline: Option<Duration>,
    /// It ends with the call.
    span: Span,
    notes: Notes,
    bytes: AtomicU64,
    /// `None`: the call has not ended, so whoever drops it now has given it up.
    outcome: Mutex<Option<Outcome>>,
    written: AtomicBool,
}

struct Outcome {
    code: Code,
    reason: String,
    message: String,
}

// === impl Notes ===

impl Notes {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::service) fn principal(&self, principal: &Principal) {
        let mut noted = self.noted();
        principal.subject().clone_into(&mut noted.subject);
        principal.client_id().unwrap_or_default().clone_into(&mut noted.client_id);
    }

    pub(in crate::service) fn organization(&self, id: Option<OrganizationId>) {
        self.noted().organization = id.map(|id| id.to_string()).unwrap_or_default();
    }

    pub(in crate::service) fn tenant(&self, id: TenantId) {
        self.noted().tenant = id.to_string();
    }

    pub(in crate::service) fn months(&self, start: Month, end: Month) {
        self.noted().months = if start == end { start.to_string() } else { format!("{start} to {end}") };
    }

    /// What the caller is not told.
    pub(in crate::service) fn truth(&self, truth: impl Display) {
        self.noted().truth = truth.to_string();
    }

    pub(in crate::service) fn add_rows(&self, rows: usize) {
        self.noted().rows += rows as u64;
    }
}

// === impl Audit ===

impl Audit {
    pub(in crate::service) fn begin(
        open: &Arc<OpenCalls>,
        rpc: Rpc,
        request_id: String,
        peer: Option<SocketAddr>,
        deadline: Option<Duration>,
        span: Span,
    ) -> Self {
        let metrics = Arc::clone(&open.metrics);
        metrics.call_began(rpc.full_name());
        let call = Arc::new(Call {
            rpc,
            metrics,
            request_id,
            peer,
            started: Instant::now(),
            deadline,
            span,
            notes: Notes::default(),
            bytes: AtomicU64::new(0),
            outcome: Mutex::default(),
            written: AtomicBool::new(false),
        });
        open.calls().insert(Arc::as_ptr(&call) as usize, Arc::downgrade(&call));
        Self { call, open: Arc::clone(open) }
    }

    pub(in crate::service) fn notes(&self) -> &Notes {
        &self.call.notes
    }

    /// For whoever may end the call without its answer being taken.
    pub(in crate::service) fn call(&self) -> Arc<Call> {
        Arc::clone(&self.call)
    }

    pub(in crate::service) fn add_bytes(&self, bytes: usize) {
        self.call.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes the outcome from trailers, and writes the line.
    pub(in crate::service) fn finish(&self, trailers: &HeaderMap) {
        self.end(trailers);
        self.call.write(|| (Code::Unknown, ""));
    }

    /// Takes the outcome from headers or trailers, if it is there.
    pub(in crate::service) fn end(&self, headers: &HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        self.call.outcome(&status);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.open.calls().remove(&(Arc::as_ptr(&self.call) as usize));
        self.call.write(|| {
            if std::thread::panicking() {
                (Code::Internal, Reason::Panic.as_str())
            } else if self.call.deadline.is_some_and(|deadline| self.call.started.elapsed() >= deadline) {
                (Code::DeadlineExceeded, Reason::DeadlineExceeded.as_str())
            } else {
                (Code::Cancelled, Reason::CallerGone.as_str())
            }
        });
    }
}

// === impl OpenCalls ===

impl OpenCalls {
    /// None yet.
    pub(in crate::service) fn new(metrics: Arc<Metrics>) -> Self {
        metrics.expect_calls(Rpc::KNOWN.map(Rpc::full_name));
        Self { calls: Mutex::default(), metrics }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<usize, Weak<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the lines of calls that the server can wait for no longer: those of callers who do not read, for instance.
    pub(in crate::service) fn give_up(&self) {
        let calls: Vec<Arc<Call>> = self.calls().values().filter_map(Weak::upgrade).collect();
        for call in calls {
            call.write(|| (Code::Unavailable, Reason::ShuttingDown.as_str()));
        }
    }
}

// === impl Call ===

impl Call {
    fn outcome(&self, status: &Status) {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let outcome = Outcome { code: status.code(), reason, message: status.message().to_owned() };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// The call has ended like this, whether anybody listens or not.
    pub(in crate::service) fn end(&self, status: &Status) {
        self.outcome(status);
        self.write(|| (status.code(), ""));
    }

    /// Writes the line, once.
    fn write(&self, unended: impl FnOnce() -> (Code, &'static str)) {
        if self.written.swap(true, Ordering::Relaxed) {
            return;
        }
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = outcome.unwrap_or_else(|| {
            let (code, reason) = unended();
            Outcome { code, reason: reason.to_owned(), message: String::new() }
        });
        let noted = self.notes.noted();
        let (bytes, duration) = (self.bytes.load(Ordering::Relaxed), self.started.elapsed());
        self.metrics.call_ended(&CallMetrics {
            rpc: self.rpc.full_name(),
            code: code_name(outcome.code),
            reason: &outcome.reason,
            duration,
            rows: noted.rows,
            bytes,
        });
        traces::call_ended(&self.span, code_name(outcome.code), &outcome.reason, noted.rows);
        tracing::info!(
            target: TARGET,
            parent: None,
            request_id = self.request_id,
            peer = self.peer.map(tracing::field::display),
            subject = noted.subject,
            client_id = noted.client_id,
            rpc = self.rpc.name(),
            organization = noted.organization,
            tenant = noted.tenant,
            month = noted.months,
            code = code_name(outcome.code),
            reason = outcome.reason,
            told = outcome.message,
            truth = noted.truth,
            rows = noted.rows,
            bytes,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "call"
        );
    }
}

/// The name that the gRPC specification gives a code.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
