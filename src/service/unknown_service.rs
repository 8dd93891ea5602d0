//! Answers calls of services that are not there. It has the layers of the others: what is no gRPC call is told so on every path.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::status;

#[derive(Clone, Copy)]
pub(super) struct UnknownService;

impl NamedService for UnknownService {
    /// Of no service.
    const NAME: &'static str = "";
}

impl Service<Request<Body>> for UnknownService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(status::unknown_service().into_http()))
    }
}
