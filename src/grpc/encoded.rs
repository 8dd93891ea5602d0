//! `GetDetailedUsage` with messages that are bytes already. Everything else is left to the generated server.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use http::{Request, Response as HttpResponse};
use tonic::{
    Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::{ProstCodec, ProstDecoder};
use tower::Service;

use super::{reports_service::Reports, usage_stream::UsageStream};
use crate::proto::{self, reports_service_server::ReportsServiceServer};

const PATH: &str = "/secureconnect.reports.v1.ReportsService/GetDetailedUsage";
/// A message is copied whole into the transport's buffer, and is sent at once.
const BUFFER_BYTES: usize = 320 << 10;

/// `ReportsService`, its stream without a detour.
#[derive(Clone)]
pub struct ReportsServer {
    reports: Reports,
    generated: ReportsServiceServer<Reports>,
    request_bytes: usize,
}

/// Requests as messages, answers as bytes.
#[derive(Default)]
struct EncodedCodec;

struct BytesEncoder;

#[derive(Clone)]
struct DetailedUsage(Reports);

// === impl ReportsServer ===

impl ReportsServer {
    /// Serves reports. Requests may be so large.
    pub fn new(reports: Reports, request_bytes: usize) -> Self {
        let generated = ReportsServiceServer::new(reports.clone()).max_decoding_message_size(request_bytes);
        Self { reports, generated, request_bytes }
    }
}

impl NamedService for ReportsServer {
    const NAME: &'static str = <ReportsServiceServer<Reports> as NamedService>::NAME;
}

impl Service<Request<Body>> for ReportsServer {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(self.generated.call(request));
        }
        let usage = DetailedUsage(self.reports.clone());
        let mut grpc = Grpc::new(EncodedCodec).max_decoding_message_size(self.request_bytes);
        Box::pin(async move { Ok(grpc.server_streaming(usage, request).await) })
    }
}

impl ServerStreamingService<proto::GetDetailedUsageRequest> for DetailedUsage {
    type Response = Bytes;
    type ResponseStream = UsageStream;
    type Future = Pin<Box<dyn Future<Output = Result<Response<UsageStream>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<proto::GetDetailedUsageRequest>) -> Self::Future {
        let reports = self.0.clone();
        Box::pin(async move { reports.detailed_usage(request).await })
    }
}

// === impl EncodedCodec ===

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = proto::GetDetailedUsageRequest;
    type Encoder = BytesEncoder;
    type Decoder = ProstDecoder<proto::GetDetailedUsageRequest>;

    fn encoder(&mut self) -> BytesEncoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<(), proto::GetDetailedUsageRequest>::default().decoder()
    }
}

impl Encoder for BytesEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES)
    }
}
