//! Admits a call as far as the limits go. The permit of a download is given back when its answer ends, that of any other call when
//! its answer is made. What was made and is not read yet counts by its bytes, for as long as the transport keeps it. Downloads and
//! imports have room for that from the beginning: what was imported must not be answered with a refusal.

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

/// What the transport and the layers keep of an answer, beside its bytes.
const ANSWER_BYTES: usize = 16 << 10;
/// Of a message of a download: one may be with the transport when the stream ends before its end.
const MESSAGE_BYTES: usize = 512 << 10;
/// Of the answer to an import, which lists loads.
const IMPORT_ANSWER_BYTES: usize = 1 << 20;

/// The permit for what the transport keeps of an answer. The body that the transport has keeps it: one below may be dropped while
/// the transport still has a part of it.
#[derive(Clone)]
pub(super) struct Unread(#[expect(dead_code, reason = "counts while it is there")] Arc<Permit>);

/// A call that was admitted.
struct Admitted {
    class: CallClass,
    holders: Holders,
    permit: Permit,
    /// `None`: its answer counts when it is made.
    unread: Option<Permit>,
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
        let answered = match admitted.class {
            CallClass::Download => Ok(with_permits(response, (admitted.permit, admitted.call), admitted.unread)),
            CallClass::Short | CallClass::Import => self.keep(response, admitted).await,
        };
        answered.unwrap_or_else(Status::into_http)
    }
}

impl Admission {
    fn admit(&self, request: &Request<Body>) -> Result<Admitted, Status> {
        let Authenticated(principal) = extension(request)?;
        let class = extension::<Rpc>(request)?.class();
        let scope = request.extensions().get::<Caller>().map(|caller| &caller.scope);
        let holders = Holders::new(principal.subject(), scope);
        let permit = self.0.acquire(class, holders.clone())?;
        let bytes = match class {
            CallClass::Download => Some(ANSWER_BYTES + MESSAGE_BYTES),
            CallClass::Import => Some(ANSWER_BYTES + IMPORT_ANSWER_BYTES),
            CallClass::Short => None,
        };
        let unread = bytes.map(|bytes| self.0.acquire_bytes(bytes, holders.clone())).transpose()?;
        Ok(Admitted { class, holders, permit, unread, call: request.extensions().get().map(Peer::admit) })
    }

    /// Whoever does not read an answer must not keep others from being answered.
    async fn keep(&self, response: Response<Body>, admitted: Admitted) -> Result<Response<Body>, Status> {
        let (head, body) = response.into_parts();
        let answer = UnreadAnswer::collect(body).await?;
        drop(admitted.permit);
        let unread = match admitted.unread {
            Some(unread) => unread,
            None => self.0.acquire_bytes(ANSWER_BYTES + answer.bytes(), admitted.holders)?,
        };
        Ok(with_permits(Response::from_parts(head, Body::new(answer)), admitted.call, Some(unread)))
    }
}

/// `call` is given back when the answer ends.
fn with_permits<P: Send + Unpin + 'static>(
    response: Response<Body>,
    call: P,
    unread: Option<Permit>,
) -> Response<Body> {
    let mut response = response.map(|body| Body::new(PermitBody { body, permit: Some(call) }));
    if let Some(unread) = unread {
        response.extensions_mut().insert(Unread(Arc::new(unread)));
    }
    response
}
