//! Makes an answer of what a handler does not answer itself: panics, and what the transport refuses.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use http::{Request, Response};
use tonic::{Status, body::Body};

use super::middleware::{CallService, Middleware, Next};
use crate::service::status;

#[derive(Clone, Copy)]
pub(super) struct Failures;

impl Middleware for Failures {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => with_reason(response),
            Err(_) => status::panicked().into_http(),
        }
    }
}

/// Gives a refusal of the transport a reason. It has no body.
fn with_reason(response: Response<Body>) -> Response<Body> {
    let refusal = Status::from_header_map(response.headers()).and_then(|status| status::with_reason(&status));
    refusal.map_or(response, Status::into_http)
}
