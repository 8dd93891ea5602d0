//! The audit log: one line for each call, written when it ends, however it ends. It says who asked for what, how
//! it ended, and what the answer did not say. It never has tokens or what was reported.
//!
//! Calls of strangers, whose subject nobody knows, have a line as far as they leave room for those of others.

use super::ended::EndedCall;
use crate::telemetry::{lines::Lines, logs::AUDIT, rate_limit::Quota};

/// Lines of strangers in 10 seconds.
const MAX_STRANGERS: u32 = 1000;

pub(super) struct AuditLog {
    /// Where each call has to reserve room for its line.
    reserved: Option<Lines>,
    strangers: Quota,
}

// === impl AuditLog ===

impl AuditLog {
    pub(super) fn new(reserved: Option<Lines>) -> Self {
        Self { reserved, strangers: Quota::new(MAX_STRANGERS) }
    }

    /// Whether there is room for the line of another call, which then must begin.
    pub(super) fn reserve(&self) -> bool {
        self.reserved.as_ref().is_none_or(Lines::reserve)
    }

    pub(super) fn ended(&self, call: &EndedCall<'_>) {
        if !call.noted.subject.is_empty() {
            return write(call);
        }
        let (passes, suppressed) = self.strangers.pass();
        if suppressed > 0 && self.reserve() {
            tracing::info!(target: AUDIT, parent: None, calls = suppressed, "more calls without a subject");
        }
        if passes {
            write(call);
        } else {
            self.reserved.iter().for_each(Lines::release);
        }
    }
}

fn write(call: &EndedCall<'_>) {
    let noted = call.noted;
    tracing::info!(
        target: AUDIT,
        parent: None,
        request_id = call.request_id,
        peer = call.peer.map(tracing::field::display),
        subject = noted.subject,
        client_id = noted.client_id,
        rpc = call.rpc.name(),
        organization = noted.organization,
        tenant = noted.tenant,
        month = noted.month,
        code = call.code,
        reason = call.reason,
        client_message = call.client_message,
        internal_detail = noted.internal_detail,
        rows = noted.rows,
        bytes = call.bytes,
        duration_ms = u64::try_from(call.duration.as_millis()).unwrap_or(u64::MAX),
        "call"
    );
}
