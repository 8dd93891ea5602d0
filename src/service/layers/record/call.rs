//! A call from its beginning to its end. The subscribers are notified of the end once.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::Span;

use super::{audit_log::AuditLog, ended::EndedCall, metrics, notes::Notes, trace};
use crate::{
    contract::Reason,
    service::{codes, policy::Rpc},
    telemetry::{lines::Lines, metrics::Metrics},
};

/// Records a call. When this is dropped, the call has ended.
pub(super) struct CallRecord {
    call: Arc<Call>,
    open: Arc<OpenCalls>,
}

/// The calls that are running.
pub(in crate::service) struct OpenCalls {
    calls: Mutex<HashMap<usize, Weak<Call>>>,
    metrics: Arc<Metrics>,
    audit: Arc<AuditLog>,
}

/// A running call, for layers that note something of it, or end it although its answer is not read.
pub(in crate::service) struct Call {
    rpc: Rpc,
    metrics: Arc<Metrics>,
    audit: Arc<AuditLog>,
    request_id: String,
    peer: Option<SocketAddr>,
    started: Instant,
    /// `grpc-timeout`.
    timeout: OnceLock<Duration>,
    /// Until the call ends. Others hold the call for a moment longer, and must not keep the span open.
    span: Mutex<Option<Span>>,
    notes: Notes,
    bytes: AtomicU64,
    /// `None`: the call has not ended. If it is dropped now, it was given up.
    outcome: Mutex<Option<Outcome>>,
    has_ended: AtomicBool,
}

struct Outcome {
    code: Code,
    reason: String,
    client_message: String,
}

// === impl CallRecord ===

impl CallRecord {
    pub(super) fn begin(
        open: &Arc<OpenCalls>,
        rpc: Rpc,
        request_id: String,
        peer: Option<SocketAddr>,
        span: Span,
    ) -> Self {
        let metrics = Arc::clone(&open.metrics);
        metrics::began(&metrics, rpc);
        let call = Arc::new(Call {
            rpc,
            metrics,
            audit: Arc::clone(&open.audit),
            request_id,
            peer,
            started: Instant::now(),
            timeout: OnceLock::new(),
            span: Mutex::new(Some(span)),
            notes: Notes::new(rpc),
            bytes: AtomicU64::new(0),
            outcome: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        open.calls().insert(Arc::as_ptr(&call) as usize, Arc::downgrade(&call));
        Self { call, open: Arc::clone(open) }
    }

    pub(super) fn call(&self) -> Arc<Call> {
        Arc::clone(&self.call)
    }

    pub(super) fn add_bytes(&self, bytes: usize) {
        self.call.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes the outcome from headers or trailers, if it is there.
    pub(super) fn note_outcome(&self, headers: &HeaderMap) {
        Status::from_header_map(headers).iter().for_each(|status| self.call.note_outcome(status));
    }

    /// Takes the outcome from trailers, with which the call has ended.
    pub(super) fn finish(&self, trailers: &HeaderMap) {
        self.note_outcome(trailers);
        self.call.notify(|| Outcome { code: Code::Unknown, reason: String::new(), client_message: String::new() });
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.open.calls().remove(&(Arc::as_ptr(&self.call) as usize));
        self.call.notify(|| {
            Outcome::unanswered(if std::thread::panicking() {
                Reason::Panic
            } else if self.call.timeout.get().is_some_and(|timeout| self.call.started.elapsed() >= *timeout) {
                Reason::DeadlineExceeded
            } else {
                Reason::CallerGone
            })
        });
    }
}

// === impl OpenCalls ===

impl OpenCalls {
    /// `audit`: where each call has to reserve room for its line.
    pub(in crate::service) fn new(metrics: Arc<Metrics>, audit: Option<Lines>) -> Self {
        metrics::expect_calls(&metrics);
        Self { calls: Mutex::default(), metrics, audit: Arc::new(AuditLog::new(audit)) }
    }

    /// Whether the audit log has room for the line of another call, which then must begin.
    pub(super) fn reserve_line(&self) -> bool {
        self.audit.reserve()
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<usize, Weak<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the calls that are still running: of callers who do not read, for instance.
    pub(in crate::service) fn give_up(&self) {
        let calls: Vec<Arc<Call>> = self.calls().values().filter_map(Weak::upgrade).collect();
        for call in calls {
            call.notify(|| Outcome::unanswered(Reason::ShuttingDown));
        }
    }
}

// === impl Call ===

impl Call {
    pub(in crate::service::layers) fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(in crate::service::layers) fn set_timeout(&self, timeout: Duration) {
        // A request has one `grpc-timeout`.
        let _ = self.timeout.set(timeout);
    }

    /// Ends the call with this status, whether its answer is read or not.
    pub(in crate::service::layers) fn end(&self, status: &Status) {
        self.note_outcome(status);
        self.notify(|| Outcome::of(status));
    }

    fn note_outcome(&self, status: &Status) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(Outcome::of(status));
    }

    /// Notifies the subscribers of the end, once.
    fn notify(&self, otherwise: impl FnOnce() -> Outcome) {
        if self.has_ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = outcome.unwrap_or_else(otherwise);
        let noted = self.notes.noted();
        let ended = EndedCall {
            rpc: self.rpc,
            request_id: &self.request_id,
            peer: self.peer,
            noted: &noted,
            code: codes::code_name(outcome.code),
            reason: &outcome.reason,
            client_message: &outcome.client_message,
            bytes: self.bytes.load(Ordering::Relaxed),
            duration: self.started.elapsed(),
        };
        metrics::ended(&self.metrics, &ended);
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner).take();
        span.iter().for_each(|span| trace::ended(span, &ended));
        self.audit.ended(&ended);
    }
}

// === impl Outcome ===

impl Outcome {
    fn of(status: &Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Self { code: status.code(), reason, client_message: status.message().to_owned() }
    }

    /// No status is sent to the caller.
    fn unanswered(reason: Reason) -> Self {
        Self { code: codes::code(reason), reason: reason.to_string(), client_message: String::new() }
    }
}
