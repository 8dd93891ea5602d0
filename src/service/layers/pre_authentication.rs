//! Limits the calls that wait to be authenticated. No caller's limit counts them yet.

use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};

use super::middleware::{CallService, Middleware, Next};
use crate::service::limits::LimitExceeded;

/// Authentication takes well below a millisecond, unless it waits for an issuer's keys. Each call that waits keeps its
/// headers, of 64 KiB by default, so that as many keep 64 MiB.
pub(in crate::service) const MAX_UNAUTHENTICATED_CALLS: usize = 1024;

#[derive(Clone)]
pub(super) struct PreAuthentication {
    permits: Arc<Semaphore>,
    limit: usize,
}

/// The request has it until its caller is authenticated.
#[derive(Clone)]
pub(super) struct PreAuthenticationPermit(
    #[expect(dead_code, reason = "given back when dropped")] Arc<OwnedSemaphorePermit>,
);

impl PreAuthentication {
    pub(super) fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)), limit }
    }
}

impl Middleware for PreAuthentication {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let Ok(permit) = self.permits.try_acquire_owned() else {
            // The rest of the request is not read: unauthenticated callers must not keep the server busy.
            let exceeded = LimitExceeded::Server { calls: "unauthenticated calls", limit: self.limit };
            return Status::from(exceeded).into_http();
        };
        request.extensions_mut().insert(PreAuthenticationPermit(Arc::new(permit)));
        next.run(request).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tonic::Code;
    use tower::{Layer as _, Service as _};

    use super::*;
    use crate::service::layers::{for_test::TestService, middleware::Apply};

    #[tokio::test]
    async fn calls_that_wait_to_be_authenticated_are_limited_and_others_are_not() {
        let authenticates = Arc::new(Semaphore::new(0));
        let ends = Arc::new(Semaphore::new(0));
        let below = {
            let (authenticates, ends) = (Arc::clone(&authenticates), Arc::clone(&ends));
            TestService(move |mut request: Request<Body>| {
                let (authenticates, ends) = (Arc::clone(&authenticates), Arc::clone(&ends));
                async move {
                    authenticates.acquire().await.unwrap().forget();
                    request.extensions_mut().remove::<PreAuthenticationPermit>();
                    ends.acquire().await.unwrap().forget();
                    Status::ok("").into_http()
                }
            })
        };
        let mut service = Apply(PreAuthentication::new(1)).layer(below);
        let mut call = || service.call(Request::new(Body::empty()));
        let code = |response: &Response<Body>| Status::from_header_map(response.headers()).unwrap().code();

        let mut first = call();
        assert!(futures_util::poll!(&mut first).is_pending());
        assert_eq!(code(&call().await.unwrap()), Code::Unavailable, "the first one waits to be authenticated");
        authenticates.add_permits(1);
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut third = call();
        assert!(futures_util::poll!(&mut third).is_pending(), "the first one is authenticated, and runs");
        drop(third);
        authenticates.add_permits(1);
        ends.add_permits(2);
        assert_eq!(code(&first.await.unwrap()), Code::Ok);
        assert_eq!(code(&call().await.unwrap()), Code::Ok, "a call that was given up gave its permit back");
    }
}
