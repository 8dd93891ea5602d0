//! Reads the caller's deadline, and ends a call that has no answer by then. An answer that has begun is ended by its
//! [monitored body](super::monitored_body).

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tonic::{Status, body::Body};

use super::{
    middleware::{CallService, Middleware, Next, extension},
    record::Call,
    refusal::refuse,
};
use crate::service::status;

/// The transport ends a call at its deadline, too, and calls that CANCELLED. So the call ends a little before, and its time counts
/// from before the transport's.
const DEADLINE_MARGIN: Duration = Duration::from_millis(1);
/// Deadlines beyond this are none.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy)]
pub(super) struct Deadlines;

/// When the caller gives up; `None`: it did not say.
#[derive(Clone, Copy)]
pub(super) struct Deadline(pub(super) Option<Instant>);

/// When a call arrived.
#[derive(Clone, Copy)]
struct Arrival(Instant);

/// Tells [`Deadlines`] when a call arrived. The transport calls this, and then begins to count.
pub(in crate::service) fn note_arrival(mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Arrival(Instant::now()));
    request
}

impl Middleware for Deadlines {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let call: Arc<Call> = match extension(&request) {
            Ok(call) => call,
            Err(status) => return refuse(request, status).await,
        };
        let timeout = timeout(request.headers()).filter(|timeout| *timeout < LONGEST_TIMEOUT);
        timeout.into_iter().for_each(|timeout| call.set_timeout(timeout));
        let Arrival(arrival) = match extension(&request) {
            Ok(arrival) => arrival,
            Err(status) => return refuse(request, status).await,
        };
        let deadline = timeout.map(|timeout| arrival + timeout.saturating_sub(DEADLINE_MARGIN));
        request.extensions_mut().insert(Deadline(deadline));
        tokio::select! {
            response = next.run(request) => response,
            () = passed(deadline) => Status::into_http(status::deadline_exceeded()),
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// `grpc-timeout` ("gRPC over HTTP2", "Timeout").
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (count, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let count: u64 = count.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}
