//! What stands before every service.

mod admission;
mod audit;
mod caller;
mod guard;
mod monitored_body;
mod request_timeout;

pub(in crate::service) use admission::Full;
pub use admission::{CallLimits, Share};
pub(in crate::service) use audit::{Notes, OpenCalls};
pub(in crate::service) use caller::Caller;
pub(in crate::service) use guard::{Gate, Guard, Peer};
