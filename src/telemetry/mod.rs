//! What operators see of a running program: metrics, traces and logs.

pub mod lines;
pub mod logs;
pub mod metrics;
pub mod rate_limit;
mod sinks;
pub mod traces;
