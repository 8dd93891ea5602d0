//! Bounds calls that need no credentials, and so have no caller whose limits would count them: health and reflection.

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    middleware::{CallService, Middleware, Next, extension},
    monitored_body::{Bounds, MonitoredBody},
    permit_body::PermitBody,
    request_timeout::RequestTimeoutBody,
};
use crate::service::{
    limits::LimitExceeded,
    peer::{PUBLIC_CALLS, Peer},
    status,
};

#[derive(Clone)]
pub(super) struct PublicCalls {
    /// How long a request may take to arrive, and a response wait for its reader.
    pub(super) stall: Duration,
    /// The age of a connection at which its streams end: a watcher of health would hold it for ever.
    pub(super) age: Option<Duration>,
    /// Cancelled when the server stops. Clients then look for another one.
    pub(super) stops: CancellationToken,
}

impl Middleware for PublicCalls {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let peer: Peer = match extension(&request) {
            Ok(peer) => peer,
            Err(status) => return status.into_http(),
        };
        let Ok(permit) = Arc::clone(&peer.public_calls).try_acquire_owned() else {
            return Status::from(LimitExceeded::Connection { calls: "calls without credentials", limit: PUBLIC_CALLS })
                .into_http();
        };
        let Self { stall, age, stops } = self;
        let end = age.map(|age| (peer.opened + age, status::connection_too_old as fn() -> Status));
        let arrival = end.map_or(stall, |(end, _)| stall.min(end.saturating_duration_since(Instant::now())));
        let bounds = Bounds { end, stall, cut_off: stops, is_resumable: false };
        let response = next.run(request.map(|body| Body::new(RequestTimeoutBody::new(body, arrival)))).await;
        if response.body().is_end_stream() {
            return response;
        }
        response.map(|body| {
            let body = Body::new(MonitoredBody::new(body, |_| {}, bounds));
            Body::new(PermitBody { body, permit: Some(permit) })
        })
    }
}
