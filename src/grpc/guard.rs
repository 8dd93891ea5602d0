//! What stands before every service: it finds out who calls, and keeps the audit log.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use rustls::pki_types::CertificateDer;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;
use tracing::Instrument as _;

use super::{
    audit::{Audit, OpenCalls},
    caller::Caller,
    status,
};
use crate::auth::{Authenticator, Credentials};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// How much, and how long, a question is listened to that is refused anyway.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// The other end of a connection, which the transport puts into every request.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// The certificate that it has shown, verified by its authority.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}

/// A service behind authentication and audit.
#[derive(Clone)]
pub struct Guard<S> {
    service: S,
    authenticator: Arc<Authenticator>,
    calls: Arc<OpenCalls>,
    cut_off: CancellationToken,
}

/// A response's body, watched to its end.
struct Watched {
    body: Body,
    audit: Audit,
    /// Ready when the server can wait no longer.
    cut_off: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut_off: bool,
}

// === impl Guard ===

impl<S> Guard<S> {
    /// Guards a service. When `cut_off` is cancelled, calls that are still running end with an error.
    pub fn new(
        service: S,
        authenticator: Arc<Authenticator>,
        calls: Arc<OpenCalls>,
        cut_off: CancellationToken,
    ) -> Self {
        Self { service, authenticator, calls, cut_off }
    }
}

impl<S: NamedService> NamedService for Guard<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that is ready is this one, not its clone.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        let authenticator = Arc::clone(&self.authenticator);
        let request_id = request_id(request.headers());
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let audit = Audit::begin(
            &self.calls,
            request.uri().path(),
            request_id.clone(),
            peer.address,
            deadline(request.headers()),
        );
        let cut_off = self.cut_off.clone();
        let span = tracing::info_span!("call", request_id);
        let answer = async move {
            let authorization: Vec<HeaderValue> =
                request.headers_mut().get_all(http::header::AUTHORIZATION).iter().cloned().collect();
            // Nothing further inside needs it, so nothing there can leak it.
            request.headers_mut().remove(http::header::AUTHORIZATION);
            let values: Vec<&[u8]> = authorization.iter().map(HeaderValue::as_bytes).collect();
            let credentials = Credentials { authorization: &values, certificate: peer.certificate.as_deref() };
            let mut response = match authenticator.authenticate(credentials).await {
                Ok(principal) => {
                    audit.notes().principal(&principal);
                    request.extensions_mut().insert(Caller { principal, notes: audit.notes().clone() });
                    let answer = AssertUnwindSafe(service.call(request)).catch_unwind();
                    tokio::select! {
                        answer = answer => answer.unwrap_or_else(|_| Ok(status::panicked().into_http()))?,
                        () = cut_off.cancelled() => status::shutting_down().into_http(),
                    }
                }
                Err(error) => {
                    audit.notes().truth(&error);
                    drain(request.into_body()).await;
                    Status::from(&error).into_http()
                }
            };
            if let Ok(value) = HeaderValue::from_str(&request_id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            audit.end(response.headers());
            let cut_off = Box::pin(cut_off.cancelled_owned());
            Ok(response.map(|body| Body::new(Watched { body, audit, cut_off, is_cut_off: false })))
        };
        Box::pin(answer.instrument(span))
    }
}

/// Takes what a caller is still sending, within limits. An answer that comes before the end of the question makes the
/// transport reset the stream, and some clients then see the reset in the place of the answer.
async fn drain(mut body: Body) {
    let mut room = DRAIN_BYTES;
    let taken = async {
        while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > room {
                return;
            }
            room -= bytes;
        }
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, taken).await;
}

/// When the caller gives up, by its own word (gRPC over HTTP/2, "Timeout"): the transport then drops the call.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (count, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let count: u64 = count.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// That of the caller, so that both logs can be laid side by side, or else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let sound = |id: &&str| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(sound).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

// === impl Watched ===

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_cut_off {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            // What is ready is still sent; what has to be waited for is not.
            Poll::Pending => {
                ready!(self.cut_off.as_mut().poll(context));
                self.is_cut_off = true;
                let mut trailers = HeaderMap::new();
                Some(status::shutting_down().add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
            }
        };
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                self.audit.add_bytes(data.len());
            }
            if let Some(trailers) = frame.trailers_ref() {
                self.audit.end(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_cut_off || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
