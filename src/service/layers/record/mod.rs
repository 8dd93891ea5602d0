//! Records each call, refused ones too. Three subscribers are notified when it ends: audit log, metrics and trace.

mod audit_log;
mod body;
mod call;
mod ended;
mod metrics;
mod notes;
mod trace;

use std::sync::Arc;

use http::{Request, Response};
use http_body::Body as _;
use tonic::body::Body;
use tracing::Instrument as _;

use super::{
    middleware::{CallService, Middleware, Next, extension},
    refusal::refuse,
    request_id::RequestId,
};
use crate::service::{peer::Peer, policy::Rpc, status};
use body::RecordedBody;
use call::CallRecord;
pub(in crate::service) use call::{Call, OpenCalls};
pub(in crate::service) use notes::Notes;

#[derive(Clone)]
pub(super) struct Recording(pub(super) Arc<OpenCalls>);

impl Middleware for Recording {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let RequestId(id) = match extension(&request) {
            Ok(id) => id,
            Err(status) => return refuse(request, status).await,
        };
        if !self.0.reserve_line() {
            return refuse(request, status::audit_log_unavailable()).await;
        }
        let rpc = Rpc::of_path(request.uri().path());
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
        let span = trace::began(rpc, &id, request.headers());
        let record = CallRecord::begin(&self.0, rpc, id, peer, span.clone());
        request.extensions_mut().insert(rpc);
        request.extensions_mut().insert(record.call());
        let answer = async move {
            let response = next.run(request).await;
            if response.body().is_end_stream() {
                record.finish(response.headers());
            } else {
                record.note_outcome(response.headers());
            }
            response.map(|body| Body::new(RecordedBody { body, record }))
        };
        answer.instrument(span).await
    }
}
