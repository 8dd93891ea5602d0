//! Ends a call that the server can wait for no longer, and watches over its answer's body.

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body as _;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    admission::Unread,
    deadline::Deadline,
    middleware::{CallService, Middleware, Next, extension},
    monitored_body::{Bounds, MonitoredBody},
    permit_body::PermitBody,
    record::Call,
    refusal::refuse,
};
use crate::service::{
    policy::{CallClass, Rpc},
    status,
};

#[derive(Clone)]
pub(super) struct Monitoring {
    /// How long a body may wait for its reader.
    pub(super) stall: Duration,
    /// Cancelled when the server can wait no longer.
    pub(super) cut_off: CancellationToken,
}

impl Monitoring {
    fn bounds(self, request: &Request<Body>) -> Result<(Arc<Call>, Bounds), Status> {
        let Deadline(deadline) = extension(request)?;
        let rpc: Rpc = extension(request)?;
        let is_resumable = rpc.class() == CallClass::Download;
        let Self { stall, cut_off } = self;
        let end = deadline.map(|deadline| (deadline, status::deadline_exceeded as fn() -> Status));
        Ok((extension(request)?, Bounds { end, stall, cut_off, is_resumable }))
    }
}

impl Middleware for Monitoring {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let (call, bounds) = match self.bounds(&request) {
            Ok(found) => found,
            Err(status) => return refuse(request, status).await,
        };
        let mut response = tokio::select! {
            response = next.run(request) => response,
            () = bounds.cut_off.cancelled() => status::shutting_down().into_http(),
        };
        if response.body().is_end_stream() {
            return response;
        }
        let permit: Option<Unread> = response.extensions_mut().remove();
        response.map(|body| {
            let body = Body::new(MonitoredBody::new(body, move |status| call.end(status), bounds));
            Body::new(PermitBody { body, permit })
        })
    }
}
