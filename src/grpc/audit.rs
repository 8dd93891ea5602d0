//! The audit log: one line for each call, written when it ends, however it ends. It says who asked for what, and what
//! became of it, also where the caller was told less. It never holds tokens or what was reported.

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

use crate::{
    auth::Principal,
    model::{Month, OrganizationId, TenantId},
};

/// The target of the log lines.
const TARGET: &str = "audit";
const PACKAGE: &str = "/secureconnect.reports.v1.";
const RPCS: [&str; 4] = [
    "ReportsService/ListTenants",
    "ReportsService/GetDetailedUsage",
    "ReportsService/GetMonthlyCosts",
    "UsageImportService/ImportUsage",
];

/// What handlers note of a call while it runs.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

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

/// A call. Its line is written when this is dropped.
pub(super) struct Audit {
    call: Arc<Call>,
    open: Arc<OpenCalls>,
}

/// The calls that are running.
#[derive(Default)]
pub struct OpenCalls(Mutex<HashMap<usize, Weak<Call>>>);

/// What a line tells.
struct Call {
    rpc: &'static str,
    request_id: String,
    peer: Option<SocketAddr>,
    started: Instant,
    deadline: Option<Duration>,
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

    pub(super) fn principal(&self, principal: &Principal) {
        let mut noted = self.noted();
        principal.subject().clone_into(&mut noted.subject);
        principal.client_id().unwrap_or_default().clone_into(&mut noted.client_id);
    }

    pub(super) fn organization(&self, id: Option<OrganizationId>) {
        self.noted().organization = id.map(|id| id.to_string()).unwrap_or_default();
    }

    pub(super) fn tenant(&self, id: TenantId) {
        self.noted().tenant = id.to_string();
    }

    pub(super) fn months(&self, start: Month, end: Month) {
        self.noted().months = if start == end { start.to_string() } else { format!("{start} to {end}") };
    }

    /// What the caller is not told.
    pub(super) fn truth(&self, truth: impl Display) {
        self.noted().truth = truth.to_string();
    }

    pub(super) fn add_rows(&self, rows: usize) {
        self.noted().rows += rows as u64;
    }
}

// === impl Audit ===

impl Audit {
    pub(super) fn begin(
        open: &Arc<OpenCalls>,
        path: &str,
        request_id: String,
        peer: Option<SocketAddr>,
        deadline: Option<Duration>,
    ) -> Self {
        // Paths are the caller's words; only those that mean something are repeated.
        let rpc = path.strip_prefix(PACKAGE).and_then(|rpc| RPCS.into_iter().find(|known| *known == rpc));
        let call = Arc::new(Call {
            rpc: rpc.unwrap_or("unknown"),
            request_id,
            peer,
            started: Instant::now(),
            deadline,
            notes: Notes::default(),
            bytes: AtomicU64::new(0),
            outcome: Mutex::default(),
            written: AtomicBool::new(false),
        });
        open.calls().insert(Arc::as_ptr(&call) as usize, Arc::downgrade(&call));
        Self { call, open: Arc::clone(open) }
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.call.notes
    }

    pub(super) fn add_bytes(&self, bytes: usize) {
        self.call.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes the outcome from headers or trailers, if it is there.
    pub(super) fn end(&self, headers: &HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let outcome = Outcome { code: status.code(), reason, message: status.message().to_owned() };
        *self.call.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.open.calls().remove(&(Arc::as_ptr(&self.call) as usize));
        self.call.write(|| {
            if std::thread::panicking() {
                (Code::Internal, "PANIC")
            } else if self.call.deadline.is_some_and(|deadline| self.call.started.elapsed() >= deadline) {
                (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            } else {
                (Code::Cancelled, "CALLER_GONE")
            }
        });
    }
}

// === impl OpenCalls ===

impl OpenCalls {
    fn calls(&self) -> MutexGuard<'_, HashMap<usize, Weak<Call>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the lines of calls that the server can wait for no longer: those of callers who do not read, for instance.
    pub fn give_up(&self) {
        let calls: Vec<Arc<Call>> = self.calls().values().filter_map(Weak::upgrade).collect();
        for call in calls {
            call.write(|| (Code::Unavailable, "SHUTTING_DOWN"));
        }
    }
}

// === impl Call ===

impl Call {
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
        tracing::info!(
            target: TARGET,
            parent: None,
            request_id = self.request_id,
            peer = self.peer.map(tracing::field::display),
            subject = noted.subject,
            client_id = noted.client_id,
            rpc = self.rpc,
            organization = noted.organization,
            tenant = noted.tenant,
            month = noted.months,
            code = code_name(outcome.code),
            reason = outcome.reason,
            told = outcome.message,
            truth = noted.truth,
            rows = noted.rows,
            bytes = self.bytes.load(Ordering::Relaxed),
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
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
