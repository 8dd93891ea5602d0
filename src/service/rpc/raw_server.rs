//! `GetDetailedUsage` with messages that are bytes already. Everything else is left to the generated server.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use tonic::{
    Status, Streaming,
    body::Body,
    codec::Codec as _,
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
    server::NamedService,
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::{detailed_usage, services::Reports};
use crate::contract::proto::{self, reports_service_server::ReportsServiceServer};

const PATH: &str = "/secureconnect.reports.v1.ReportsService/GetDetailedUsage";

/// `ReportsService`, its stream without a detour.
#[derive(Clone)]
pub(in crate::service) struct ReportsServer {
    reports: Reports,
    generated: ReportsServiceServer<Reports>,
    request_bytes: usize,
}

// === impl ReportsServer ===

impl ReportsServer {
    pub(in crate::service) fn new(reports: Reports, request_bytes: usize) -> Self {
        let generated = ReportsServiceServer::new(reports.clone()).max_decoding_message_size(request_bytes);
        Self { reports, generated, request_bytes }
    }
}

impl NamedService for ReportsServer {
    const NAME: &'static str = <ReportsServiceServer<Reports> as NamedService>::NAME;
}

impl Service<Request<Body>> for ReportsServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // What is compressed is refused there.
        if request.uri().path() != PATH || is_compressed(request.headers()) {
            return Box::pin(self.generated.call(request));
        }
        let (reports, request_bytes) = (self.reports.clone(), self.request_bytes);
        Box::pin(async move {
            let answer = answer(reports, request, request_bytes).await;
            Ok(answer.unwrap_or_else(Status::into_http))
        })
    }
}

async fn answer(reports: Reports, request: Request<Body>, request_bytes: usize) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let decoder = ProstCodec::<(), proto::GetDetailedUsageRequest>::default().decoder();
    let mut messages = Streaming::new_request(decoder, body, None, Some(request_bytes));
    let message = messages.message().await?.ok_or_else(|| Status::internal("the request has no message"))?;
    // To its end: a stream that is answered before that is reset, and some clients see only that.
    messages.trailers().await?;
    let metadata = MetadataMap::from_headers(parts.headers);
    let request = tonic::Request::from_parts(metadata, parts.extensions, message);
    let mut response = Response::new(Body::new(detailed_usage::handle(&reports, request).await?));
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    Ok(response)
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get("grpc-encoding").is_some_and(|encoding| encoding != HeaderValue::from_static("identity"))
}
