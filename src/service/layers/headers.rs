//! Drops what nobody reads of a request's head. Until it is dropped, a call keeps all of its headers: of 64 KiB by default, which
//! compression makes from almost nothing.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName as Name},
};
use tonic::body::Body;

use super::middleware::{CallService, Middleware, Next};

/// What layers, handlers and the transport read.
const KEPT: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    Name::from_static("grpc-accept-encoding"),
    Name::from_static("grpc-encoding"),
    Name::from_static("grpc-timeout"),
    Name::from_static("traceparent"),
    Name::from_static("tracestate"),
    Name::from_static("x-request-id"),
];
/// Of one name: enough to see that there are several where one belongs.
const KEPT_VALUES: usize = 2;
/// Longer paths are none of the contract.
const MAX_PATH_BYTES: usize = 256;

#[derive(Clone, Copy)]
pub(super) struct Headers;

impl Middleware for Headers {
    async fn handle(self, mut request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        *request.headers_mut() = kept(request.headers());
        *request.uri_mut() = path(request.uri());
        next.run(request).await
    }
}

/// Copies: what arrived is a slice of the block of all headers, and would keep it.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(KEPT.len());
    for name in KEPT {
        for value in headers.get_all(&name).iter().take(KEPT_VALUES) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                kept.append(name.clone(), value);
            }
        }
    }
    kept
}

fn path(uri: &Uri) -> Uri {
    let path = uri.path();
    let path = if path.len() > MAX_PATH_BYTES { "/" } else { path };
    Uri::try_from(path.to_owned()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_kept_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for _ in 0..1000 {
            headers.append("a", HeaderValue::from_static(""));
            headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        }
        for name in KEPT.iter().skip(1) {
            headers.append(name, HeaderValue::from_static("1"));
        }
        headers.append("x-forwarded-for", HeaderValue::from_static("::1"));
        let kept = kept(&headers);
        assert_eq!(kept.len(), KEPT.len() - 1 + KEPT_VALUES);
        assert!(KEPT.iter().all(|name| kept.contains_key(name)));
        assert_eq!(kept.get_all(AUTHORIZATION).iter().count(), 2);
    }

    #[test]
    fn paths_of_rpcs_are_kept() {
        let rpc = "/secureconnect.reports.v1.ReportsService/ListTenants";
        assert_eq!(path(&format!("https://reports.example{rpc}?query").parse().unwrap()).to_string(), rpc);
        assert_eq!(path(&format!("/{}", "x".repeat(300)).parse().unwrap()).to_string(), "/");
    }
}
