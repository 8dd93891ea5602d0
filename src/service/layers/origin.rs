//! Refuses what a page of another site makes a browser send: a browser with a client certificate would be its hand.

use http::{
    Request, Response, StatusCode, Uri,
    header::{HOST, HeaderValue, ORIGIN},
};
use tonic::body::Body;

use super::middleware::{CallService, Middleware, Next};

#[derive(Clone, Copy)]
pub(super) struct Origins;

impl Middleware for Origins {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        if is_foreign(&request) {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            return refusal;
        }
        next.run(request).await
    }
}

/// Programs send no `Origin` (RFC 6454, section 7.3); browsers always do with POST.
fn is_foreign(request: &Request<Body>) -> bool {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let own = authority.or(host);
    let mut origins = request.headers().get_all(ORIGIN).iter();
    origins.any(|origin| {
        authority_of(origin).is_none_or(|origin| own.is_none_or(|own| !own.eq_ignore_ascii_case(&origin)))
    })
}

fn authority_of(origin: &HeaderValue) -> Option<String> {
    let origin: Uri = origin.to_str().ok()?.parse().ok()?;
    origin.scheme()?;
    origin.authority().map(ToString::to_string)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn origins_other_than_the_server_itself_are_foreign() {
        let from = |uri: &str, origins: &[&str]| {
            let request = Request::post(uri);
            let request = origins.iter().fold(request, |request, origin| request.header(ORIGIN, *origin));
            is_foreign(&request.body(Body::empty()).unwrap())
        };
        let uri = "https://reports.example:50051/x";
        assert!(!from(uri, &[]));
        assert!(!from(uri, &["https://reports.example:50051"]));
        assert!(!from(uri, &["https://Reports.Example:50051"]));
        for origin in
            ["https://evil.example", "https://reports.example", "https://reports.example:50052", "null", "", "\u{e4}"]
        {
            assert!(from(uri, &[origin]), "{origin:?}");
        }
        assert!(from(uri, &["https://reports.example:50051", "https://evil.example"]));
        assert!(from("/x", &["https://reports.example:50051"]), "a server without a name has no pages");
    }
}
