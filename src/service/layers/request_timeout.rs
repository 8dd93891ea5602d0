//! Limits how long a request may take to arrive: a call that is begun and not sent would keep its permit.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

use super::{
    middleware::{CallService, Middleware, Next, extension},
    refusal::refuse,
};
use crate::service::{
    policy::{CallClass, Rpc},
    status,
};

#[derive(Clone, Copy)]
pub(super) struct RequestTimeout(pub(super) Duration);

/// A request's body that fails when it has not ended in time.
pub(super) struct RequestTimeoutBody {
    body: Body,
    limit: Pin<Box<Sleep>>,
}

impl Middleware for RequestTimeout {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let class = match extension::<Rpc>(&request) {
            Ok(rpc) => rpc.class(),
            Err(status) => return refuse(request, status).await,
        };
        // Importers have a limit of their own, between messages.
        if class == CallClass::Import {
            return next.run(request).await;
        }
        next.run(request.map(|body| Body::new(RequestTimeoutBody::new(body, self.0)))).await
    }
}

impl RequestTimeoutBody {
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit: Box::pin(tokio::time::sleep(limit)) }
    }
}

impl HttpBody for RequestTimeoutBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let frame @ Poll::Ready(_) = Pin::new(&mut self.body).poll_frame(context) {
            return frame;
        }
        ready!(self.limit.as_mut().poll(context));
        Poll::Ready(Some(Err(status::request_stalled())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
