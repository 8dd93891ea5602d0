//! Admits a call as far as the limits go. Its permit is given back when its answer ends.

use std::sync::Arc;

use http::{Request, Response};
use http_body::Body as _;
use tonic::{Status, body::Body};

use super::{
    authentication::Authenticated,
    middleware::{CallService, Middleware, Next, extension},
    permit_body::PermitBody,
    refusal::refuse,
};
use crate::service::{
    limits::{Permit, Permits},
    peer::{AdmittedCall, Peer},
    policy::Rpc,
};

#[derive(Clone)]
pub(super) struct Admission(pub(super) Arc<Permits>);

impl Middleware for Admission {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let permits = match self.acquire(&request) {
            Ok(permits) => permits,
            Err(status) => return refuse(request, status).await,
        };
        let response = next.run(request).await;
        if response.body().is_end_stream() {
            return response;
        }
        response.map(|body| Body::new(PermitBody { body, permit: Some(permits) }))
    }
}

impl Admission {
    fn acquire(&self, request: &Request<Body>) -> Result<(Permit, Option<AdmittedCall>), Status> {
        let Authenticated(principal) = extension(request)?;
        let rpc: Rpc = extension(request)?;
        let permit = self.0.acquire(rpc.class(), principal.subject())?;
        Ok((permit, request.extensions().get().map(Peer::admit)))
    }
}
