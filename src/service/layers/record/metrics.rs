//! The metrics of calls.

use super::ended::EndedCall;
use crate::{
    service::policy::Rpc,
    telemetry::metrics::{CallMetrics, Metrics},
};

/// Failures are counted from 0 on, before there are any.
pub(super) fn expect_calls(metrics: &Metrics) {
    metrics.expect_calls(Rpc::all().map(Rpc::full_name));
}

pub(super) fn began(metrics: &Metrics, rpc: Rpc) {
    metrics.call_began(rpc.full_name());
}

pub(super) fn ended(metrics: &Metrics, call: &EndedCall<'_>) {
    metrics.call_ended(&CallMetrics {
        rpc: call.rpc.full_name(),
        code: call.code,
        reason: call.reason,
        duration: call.duration,
        rows: call.noted.rows,
        bytes: call.bytes,
    });
}
