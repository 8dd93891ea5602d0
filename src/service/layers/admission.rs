//! Admits a call as far as the limits go. Its permit is given back when its answer ends; that of a short call when its answer is
//! made, which then counts by its bytes until it is read.

use std::sync::Arc;

use http::{Request, Response};
use http_body::Body as _;
use tonic::{Status, body::Body};

use super::{
    authentication::Authenticated,
    caller::Caller,
    middleware::{CallService, Middleware, Next, extension},
    permit_body::PermitBody,
    refusal::refuse,
    unread_answer::UnreadAnswer,
};
use crate::service::{
    limits::{Holders, Permit, Permits},
    peer::{AdmittedCall, Peer},
    policy::{CallClass, Rpc},
};

#[derive(Clone)]
pub(super) struct Admission(pub(super) Arc<Permits>);

/// A call that was admitted.
struct Admitted {
    class: CallClass,
    holders: Holders,
    permit: Permit,
    call: Option<AdmittedCall>,
}

impl Middleware for Admission {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let admitted = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(status) => return refuse(request, status).await,
        };
        let response = next.run(request).await;
        if response.body().is_end_stream() {
            return response;
        }
        if admitted.class == CallClass::Short {
            return self.keep(response, admitted).await.unwrap_or_else(Status::into_http);
        }
        let permit = Some((admitted.permit, admitted.call));
        response.map(|body| Body::new(PermitBody { body, permit }))
    }
}

impl Admission {
    fn admit(&self, request: &Request<Body>) -> Result<Admitted, Status> {
        let Authenticated(principal) = extension(request)?;
        let class = extension::<Rpc>(request)?.class();
        let scope = request.extensions().get::<Caller>().map(|caller| &caller.scope);
        let holders = Holders::new(principal.subject(), scope);
        let permit = self.0.acquire(class, holders.clone())?;
        Ok(Admitted { class, holders, permit, call: request.extensions().get().map(Peer::admit) })
    }

    /// Whoever does not read an answer must not keep others from being answered.
    async fn keep(&self, response: Response<Body>, admitted: Admitted) -> Result<Response<Body>, Status> {
        let (head, body) = response.into_parts();
        let answer = UnreadAnswer::collect(body).await?;
        drop(admitted.permit);
        let permit = Some((self.0.acquire_bytes(answer.bytes(), admitted.holders)?, admitted.call));
        Ok(Response::from_parts(head, Body::new(PermitBody { body: Body::new(answer), permit })))
    }
}
