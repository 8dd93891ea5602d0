//! What operators see of a running program: metrics, traces and logs.

pub mod logs;
pub mod metrics;
pub mod traces;
