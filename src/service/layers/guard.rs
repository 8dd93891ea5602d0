//! What stands before every service: it finds out who calls, whether there is room, and when to give up; and it keeps the
//! audit log.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;
use tracing::Instrument as _;

use super::{
    admission::{CallLimits, Place, Places},
    audit::{Audit, OpenCalls},
    caller::Caller,
    monitored_body::{Bounds, Watched},
    request_timeout::Arriving,
};
use crate::{
    auth::{Authenticator, Credentials},
    service::{
        policy::{Rpc, Weight},
        status,
    },
    telemetry::traces,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// How much, and how long, a question is listened to that is refused anyway.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// The transport ends a call at its deadline, too, and calls that CANCELLED. So the call ends a little before.
const DEADLINE_MARGIN: Duration = Duration::from_millis(1);
/// Deadlines beyond this are none.
const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The other end of a connection, which the transport puts into every request.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct Peer {
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// The certificate that it has shown, verified by its authority.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}

/// What the services of a server share before them.
#[derive(Clone)]
pub(in crate::service) struct Gate {
    authenticator: Arc<Authenticator>,
    calls: Arc<OpenCalls>,
    places: Arc<Places>,
    stall: Duration,
    cut_off: CancellationToken,
}

/// A service behind a gate.
#[derive(Clone)]
pub(in crate::service) struct Guard<S> {
    service: S,
    gate: Gate,
}

// === impl Gate ===

impl Gate {
    /// Lets in whom the authenticator knows, as far as the limits go. When `cut_off` is cancelled, calls that are still
    /// running end with an error.
    pub(in crate::service) fn new(
        authenticator: Arc<Authenticator>,
        calls: Arc<OpenCalls>,
        limits: &CallLimits,
        cut_off: CancellationToken,
    ) -> Self {
        Self { authenticator, calls, places: Arc::new(Places::new(limits)), stall: limits.stall, cut_off }
    }

    /// Who calls, and a place for the call; or the answer.
    async fn admit(&self, rpc: Rpc, request: &mut Request<Body>, audit: &Audit) -> Result<Place, Status> {
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.clone());
        let authorization: Vec<HeaderValue> =
            request.headers_mut().get_all(http::header::AUTHORIZATION).iter().cloned().collect();
        // Nothing further inside needs it, so nothing there can leak it.
        request.headers_mut().remove(http::header::AUTHORIZATION);
        let values: Vec<&[u8]> = authorization.iter().map(HeaderValue::as_bytes).collect();
        let credentials = Credentials { authorization: &values, certificate: certificate.as_deref() };
        let principal = self.authenticator.authenticate(credentials).await.map_err(|error| {
            audit.notes().truth(&error);
            Status::from(&error)
        })?;
        audit.notes().principal(&principal);
        let place = self.places.take(rpc.weight(), principal.subject())?;
        request.extensions_mut().insert(Caller { principal, notes: audit.notes().clone() });
        Ok(place)
    }
}

// === impl Guard ===

impl<S> Guard<S> {
    /// Guards a service.
    pub(in crate::service) fn new(service: S, gate: Gate) -> Self {
        Self { service, gate }
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
        let gate = self.gate.clone();
        let rpc = Rpc::of_path(request.uri().path());
        let request_id = request_id(request.headers());
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
        let timeout = timeout(request.headers()).filter(|timeout| *timeout < LONGEST_DEADLINE);
        let span = traces::call(rpc.full_name(), &request_id, request.headers());
        let audit = Audit::begin(&gate.calls, rpc, request_id.clone(), peer, timeout, span.clone());
        let deadline = timeout.map(|timeout| Instant::now() + timeout.saturating_sub(DEADLINE_MARGIN));
        let answer = async move {
            let mut place = None;
            let answer = async {
                match gate.admit(rpc, &mut request, &audit).await {
                    Ok(taken) => place = Some(taken),
                    Err(status) => {
                        drain(request.into_body()).await;
                        return Ok(status.into_http());
                    }
                }
                // Importers have a limit of their own, between messages.
                if rpc.weight() != Weight::Import {
                    request = request.map(|body| Body::new(Arriving::new(body, gate.stall)));
                }
                let answer = AssertUnwindSafe(service.call(request)).catch_unwind();
                answer.await.map_or_else(|_| Ok(status::panicked().into_http()), |answer| answer.map(with_reason))
            };
            let mut response = tokio::select! {
                answer = answer => answer?,
                () = gate.cut_off.cancelled() => status::shutting_down().into_http(),
                () = past(deadline) => status::deadline_exceeded().into_http(),
            };
            if let Ok(value) = HeaderValue::from_str(&request_id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            if response.body().is_end_stream() {
                audit.finish(response.headers());
            } else {
                audit.end(response.headers());
            }
            let bounds = Bounds { deadline, stall: gate.stall, cut_off: gate.cut_off };
            Ok(response
                .map(|body| Body::new(Watched::new(body, audit, place, rpc.weight() == Weight::Download, bounds))))
        };
        Box::pin(answer.instrument(span))
    }
}

/// Gives a refusal of the transport a reason. It has no body.
fn with_reason(answer: Response<Body>) -> Response<Body> {
    let refusal = Status::from_header_map(answer.headers()).and_then(|status| status::with_reason(&status));
    refusal.map_or(answer, Status::into_http)
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

/// Ready when a deadline has passed.
async fn past(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// After how long the caller gives up, by its own word (gRPC over HTTP/2, "Timeout").
fn timeout(headers: &HeaderMap) -> Option<Duration> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::{auth::AuthConfig, telemetry::metrics::Metrics};

    /// Panics at one path, and answers at others.
    #[derive(Clone)]
    struct Moody;

    impl Service<Request<Body>> for Moody {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                assert!(!request.uri().path().ends_with("ListTenants"), "a panic on purpose");
                Ok(Status::new(Code::Ok, "").into_http())
            })
        }
    }

    #[tokio::test]
    async fn a_panic_is_of_its_call_alone() {
        let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
        let metrics = Metrics::new(Vec::new);
        let limits = CallLimits::default();
        let gate = Gate::new(
            Arc::new(Authenticator::new(auth).unwrap()),
            Arc::new(OpenCalls::new(Arc::clone(&metrics))),
            &limits,
            CancellationToken::new(),
        );
        let mut guard = Guard::new(Moody, gate);
        for (rpc, code) in
            [("ListTenants", Code::Internal), ("GetMonthlyCosts", Code::Ok), ("ListTenants", Code::Internal)]
        {
            let path = format!("/secureconnect.reports.v1.ReportsService/{rpc}");
            let response = guard.call(Request::post(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), code, "{rpc}");
        }
        // Their places are free again, and they are counted as what they are.
        let text = metrics.to_text().unwrap();
        let full_name = "secureconnect.reports.v1.ReportsService/ListTenants";
        assert!(text.contains(&format!("scr_running_calls{{rpc_method=\"{full_name}\"}} 0")), "{text}");
        let failures = format!("scr_call_failures_total{{rpc_method=\"{full_name}\",reason=\"INTERNAL\"}} 2");
        assert!(text.contains(&failures), "{text}");
    }
}
