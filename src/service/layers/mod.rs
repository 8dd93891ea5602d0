//! What stands above every service, one layer a file. [`Layers`] has their order.
//!
//! Layers tell each other what they found by extensions of the request.

mod admission;
mod authentication;
mod authorization;
mod caller;
mod content_type;
mod deadline;
mod failures;
mod field_scan;
#[cfg(test)]
mod for_test;
mod headers;
mod middleware;
mod monitored_body;
mod monitoring;
mod origin;
mod permit_body;
mod pre_authentication;
mod public;
mod record;
mod refusal;
mod request_bounds;
mod request_id;
mod request_timeout;
mod stack;
mod unread_answer;

pub(in crate::service) use caller::Caller;
pub(in crate::service) use deadline::note_arrival;
pub(in crate::service) use record::{Notes, OpenCalls};
pub(in crate::service) use request_bounds::check_message;
pub(in crate::service) use stack::{Ends, Layers};
