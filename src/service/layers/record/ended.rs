//! What the subscribers hear of a call that has ended.

use std::{net::SocketAddr, time::Duration};

use super::notes::Noted;
use crate::service::policy::Rpc;

pub(super) struct EndedCall<'a> {
    pub(super) rpc: Rpc,
    pub(super) request_id: &'a str,
    pub(super) peer: Option<SocketAddr>,
    pub(super) noted: &'a Noted,
    /// The name of the gRPC code.
    pub(super) code: &'static str,
    /// Empty where there is none.
    pub(super) reason: &'a str,
    /// The message of the status. Empty where none was sent.
    pub(super) client_message: &'a str,
    pub(super) bytes: u64,
    pub(super) duration: Duration,
}
