//! Layers as async functions: from a request, and the service below, to a response.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tower::{Layer, Service};

use crate::service::status;

/// A gRPC service, or a part of the stack above one. Its errors are responses.
pub(in crate::service) trait CallService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> CallService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A layer, as a function.
pub(super) trait Middleware: Clone + Send + Sync + 'static {
    fn handle(
        self,
        request: Request<Body>,
        next: Next<impl CallService>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// The service below a layer, for one call.
pub(super) struct Next<S>(S);

/// A [`Middleware`] as a layer of tower.
#[derive(Clone)]
pub(super) struct Apply<M>(pub(super) M);

/// A service below a layer.
#[derive(Clone)]
pub(super) struct Layered<M, S> {
    middleware: M,
    service: S,
}

/// A value that a layer above has put into the request.
pub(super) fn extension<T: Clone + Send + Sync + 'static>(request: &Request<Body>) -> Result<T, Status> {
    request.extensions().get().cloned().ok_or_else(status::missing_extension::<T>)
}

// === impl Next ===

impl<S: CallService> Next<S> {
    pub(super) async fn run(mut self, request: Request<Body>) -> Response<Body> {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

// === impl Apply ===

impl<M: Clone, S> Layer<S> for Apply<M> {
    type Service = Layered<M, S>;

    fn layer(&self, service: S) -> Layered<M, S> {
        Layered { middleware: self.0.clone(), service }
    }
}

// === impl Layered ===

impl<M, S: NamedService> NamedService for Layered<M, S> {
    const NAME: &'static str = S::NAME;
}

impl<M: Middleware, S: CallService> Service<Request<Body>> for Layered<M, S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that is ready is this one, not its clone.
        let clone = self.service.clone();
        let service = std::mem::replace(&mut self.service, clone);
        let middleware = self.middleware.clone();
        Box::pin(async move { Ok(middleware.handle(request, Next(service)).await) })
    }
}
