//! Refuses requests that are no gRPC calls ("gRPC over HTTP2", "Requests"). The transport accepts any method and content type.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use tonic::body::Body;

use super::{
    middleware::{CallService, Middleware, Next},
    refusal::drain,
};

const CONTENT_TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];

#[derive(Clone, Copy)]
pub(super) struct ContentTypes;

impl Middleware for ContentTypes {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let mut refusal = Response::new(Body::empty());
        if request.method() != Method::POST {
            *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        } else if !is_grpc(request.headers()) {
            *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        } else {
            return next.run(request).await;
        }
        drain(request.into_body()).await;
        refusal
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    CONTENT_TYPES.iter().any(|known| media_type.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_grpc_with_protobuf_are_known() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).expect("a header"));
            headers
        };
        for value in
            ["application/grpc", "application/grpc+proto", "Application/GRPC", "application/grpc; charset=utf-8"]
        {
            assert!(is_grpc(&with(value)), "{value}");
        }
        for value in [
            "",
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+json",
            "application/grpcx",
            "text/plain; application/grpc",
        ] {
            assert!(!is_grpc(&with(value)), "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
