//! The span of a call.

use http::HeaderMap;
use tracing::Span;

use super::ended::EndedCall;
use crate::{service::policy::Rpc, telemetry::traces};

pub(super) fn began(rpc: Rpc, request_id: &str, headers: &HeaderMap) -> Span {
    traces::call(rpc.full_name(), request_id, headers)
}

pub(super) fn ended(span: &Span, call: &EndedCall<'_>) {
    traces::call_ended(span, call.code, call.reason, call.noted.rows);
}
