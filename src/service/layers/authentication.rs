//! Authenticates the caller.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};

use super::{
    middleware::{CallService, Middleware, Next, extension},
    pre_authentication::PreAuthenticationPermit,
    record::Call,
    refusal::refuse,
};
use crate::{
    auth::{Authenticator, Credentials, Principal},
    service::peer::Peer,
};

#[derive(Clone)]
pub(super) struct Authentication(pub(super) Arc<Authenticator>);

/// The caller, for the layers below: handlers get a scope and not roles.
#[derive(Clone)]
pub(super) struct Authenticated(pub(super) Arc<Principal>);

impl Middleware for Authentication {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let permit = request.extensions_mut().remove::<PreAuthenticationPermit>();
        let authenticated = self.authenticate(&mut request).await;
        drop(permit);
        match authenticated {
            Ok(principal) => {
                request.extensions_mut().insert(Authenticated(Arc::new(principal)));
                next.run(request).await
            }
            Err(status) => refuse(request, status).await,
        }
    }
}

impl Authentication {
    async fn authenticate(&self, request: &mut Request<Body>) -> Result<Principal, Status> {
        let call: Arc<Call> = extension(request)?;
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.clone());
        let authorization: Vec<HeaderValue> = request.headers().get_all(AUTHORIZATION).iter().cloned().collect();
        // Nothing further inside needs it, so nothing there can leak it.
        request.headers_mut().remove(AUTHORIZATION);
        let values: Vec<&[u8]> = authorization.iter().map(HeaderValue::as_bytes).collect();
        let credentials = Credentials { authorization: &values, certificate: certificate.as_deref() };
        match self.0.authenticate(credentials).await {
            Ok(principal) => {
                call.notes().principal(&principal);
                Ok(principal)
            }
            Err(error) => {
                call.notes().internal_detail(&error);
                Err(Status::from(&error))
            }
        }
    }
}
