//! The audit log: one line for each call, written when it ends, however it ends. It says who asked for what, how
//! it ended, and what the answer did not say. It never has tokens or what was reported.

use super::ended::EndedCall;
use crate::telemetry::logs::AUDIT;

pub(super) fn ended(call: &EndedCall<'_>) {
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
