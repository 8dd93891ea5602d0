//! Admits a call as far as the limits go. Its permit is given back when its answer ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

use super::{
    authentication::Authenticated,
    middleware::{CallService, Middleware, Next, extension},
    refusal::refuse,
};
use crate::service::{
    limits::{Permit, Permits},
    policy::Rpc,
};

#[derive(Clone)]
pub(super) struct Admission(pub(super) Arc<Permits>);

/// A response's body with the permit of its call.
struct PermitBody {
    body: Body,
    permit: Option<Permit>,
}

impl Middleware for Admission {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let permit = match self.acquire(&request) {
            Ok(permit) => permit,
            Err(status) => return refuse(request, status).await,
        };
        let response = next.run(request).await;
        if response.body().is_end_stream() {
            return response;
        }
        response.map(|body| Body::new(PermitBody { body, permit: Some(permit) }))
    }
}

impl Admission {
    fn acquire(&self, request: &Request<Body>) -> Result<Permit, Status> {
        let Authenticated(principal) = extension(request)?;
        let rpc: Rpc = extension(request)?;
        Ok(self.0.acquire(rpc.class(), principal.subject())?)
    }
}

impl HttpBody for PermitBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // Before the caller can know that the call has ended, and makes another one.
        if matches!(&frame, Some(Ok(frame)) if frame.is_trailers()) {
            self.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
