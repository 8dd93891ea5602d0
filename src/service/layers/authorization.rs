//! Gives the request the caller's scope, in the role that the RPC's policy asks for.

use std::sync::Arc;

use http::{Request, Response};
use tonic::{Status, body::Body};

use super::{
    authentication::Authenticated,
    caller::Caller,
    middleware::{CallService, Middleware, Next, extension},
    record::Call,
    refusal::refuse,
};
use crate::{auth::Role, service::policy::Rpc};

#[derive(Clone, Copy)]
pub(super) struct Authorization;

impl Middleware for Authorization {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        match authorize(&mut request) {
            Ok(()) => next.run(request).await,
            Err(status) => refuse(request, status).await,
        }
    }
}

fn authorize(request: &mut Request<Body>) -> Result<(), Status> {
    // What is no RPC needs no right: the service says that it is not there.
    let Some(role) = extension::<Rpc>(request)?.role() else { return Ok(()) };
    let caller = caller(request, role)?;
    request.extensions_mut().insert(caller);
    Ok(())
}

fn caller(request: &Request<Body>, role: Role) -> Result<Caller, Status> {
    let Authenticated(principal) = extension(request)?;
    let notes = extension::<Arc<Call>>(request)?.notes().clone();
    match principal.scope_as(role) {
        Ok(scope) => Ok(Caller { subject: principal.subject().to_owned(), scope: scope.clone(), notes }),
        Err(denied) => {
            let (roles, organizations) = principal.listed_counts();
            notes.internal_detail(format!("the credentials list {roles} roles and {organizations} organizations"));
            Err(denied.into())
        }
    }
}
