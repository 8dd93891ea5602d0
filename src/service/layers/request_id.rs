//! Gives each call an id, which its answer carries too.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::body::Body;

use super::middleware::{CallService, Middleware, Next};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;

#[derive(Clone, Copy)]
pub(super) struct RequestIds;

#[derive(Clone)]
pub(super) struct RequestId(pub(super) String);

impl Middleware for RequestIds {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let id = request_id(request.headers());
        let value = HeaderValue::from_str(&id);
        request.extensions_mut().insert(RequestId(id));
        let mut response = next.run(request).await;
        if let Ok(value) = value {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
}

/// The caller's own id, so that its log and ours can be compared, or else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_sound =
        |id: &&str| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(is_sound).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}
