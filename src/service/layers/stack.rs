//! The layers above a service, in the order in which a call meets them.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use super::{
    admission::Admission,
    authentication::Authentication,
    authorization::Authorization,
    content_type::ContentTypes,
    deadline::Deadlines,
    failures::Failures,
    headers::Headers,
    middleware::{Apply, CallService},
    monitoring::Monitoring,
    origin::Origins,
    pre_authentication::{MAX_UNAUTHENTICATED_CALLS, PreAuthentication},
    public::PublicCalls,
    record::{OpenCalls, Recording},
    request_bounds::RequestBounds,
    request_id::RequestIds,
    request_timeout::RequestTimeout,
};
use crate::{
    auth::Authenticator,
    service::limits::{CallLimits, Permits},
};

/// What the services of a server share above them.
#[derive(Clone)]
pub(in crate::service) struct Layers {
    authenticator: Arc<Authenticator>,
    calls: Arc<OpenCalls>,
    permits: Arc<Permits>,
    pre_authentication: PreAuthentication,
    stall: Duration,
    age: Option<Duration>,
    stops: CancellationToken,
    request_bounds: RequestBounds,
    cut_off: CancellationToken,
}

/// When calls end because the server does.
#[derive(Clone, Default)]
pub(in crate::service) struct Ends {
    /// Calls that would never end by themselves, such as a watch of health.
    pub(in crate::service) endless: CancellationToken,
    /// All others that are still running.
    pub(in crate::service) all: CancellationToken,
}

// === impl Layers ===

impl Layers {
    /// `age`: of a connection, at which calls without credentials end.
    pub(in crate::service) fn new(
        authenticator: Arc<Authenticator>,
        calls: Arc<OpenCalls>,
        limits: &CallLimits,
        age: Option<Duration>,
        ends: Ends,
    ) -> Self {
        let permits = Arc::new(Permits::new(limits));
        let pre_authentication = PreAuthentication::new(MAX_UNAUTHENTICATED_CALLS);
        let request_bounds = RequestBounds { message_bytes: limits.request_bytes };
        let Ends { endless, all } = ends;
        Self {
            authenticator,
            calls,
            permits,
            pre_authentication,
            stall: limits.stall,
            age,
            request_bounds,
            stops: endless,
            cut_off: all,
        }
    }

    /// Above a service that needs no credentials.
    pub(in crate::service) fn around_public(&self, service: impl CallService) -> impl CallService {
        ServiceBuilder::new()
            .layer(Apply(Origins))
            .layer(Apply(Headers))
            .layer(Apply(ContentTypes))
            .layer(Apply(PublicCalls { stall: self.stall, age: self.age, stops: self.stops.clone() }))
            .layer(Apply(Failures))
            .service(service)
    }

    /// Above a service of reports or imports. A request meets the layers from the first to the last, its response from the
    /// last to the first.
    pub(in crate::service) fn around(&self, service: impl CallService) -> impl CallService {
        ServiceBuilder::new()
            .layer(Apply(Origins))
            .layer(Apply(Headers))
            .layer(Apply(RequestIds))
            .layer(Apply(ContentTypes))
            .layer(Apply(Recording(Arc::clone(&self.calls))))
            .layer(Apply(Deadlines))
            .layer(Apply(Monitoring { stall: self.stall, cut_off: self.cut_off.clone() }))
            .layer(Apply(self.pre_authentication.clone()))
            .layer(Apply(Authentication(Arc::clone(&self.authenticator))))
            .layer(Apply(Authorization))
            .layer(Apply(Admission(Arc::clone(&self.permits))))
            .layer(Apply(RequestTimeout(self.stall)))
            .layer(Apply(self.request_bounds))
            .layer(Apply(Failures))
            .service(service)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{Request, header::CONTENT_TYPE};
    use tonic::{Code, Status, body::Body};
    use tower::Service as _;

    use super::*;
    use crate::{
        auth::AuthConfig,
        service::layers::{for_test::TestService, note_arrival},
        telemetry::metrics::Metrics,
    };

    #[tokio::test]
    async fn a_panic_is_of_its_call_alone() {
        let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
        let metrics = Metrics::new(Vec::new);
        let limits = CallLimits::default();
        let layers = Layers::new(
            Arc::new(Authenticator::new(auth).unwrap()),
            Arc::new(OpenCalls::new(Arc::clone(&metrics), None)),
            &limits,
            None,
            Ends::default(),
        );
        let mut service = layers.around(TestService(|request: Request<Body>| async move {
            assert!(!request.uri().path().ends_with("ListTenants"), "a panic on purpose");
            Status::ok("").into_http()
        }));
        for (rpc, code) in
            [("ListTenants", Code::Internal), ("GetMonthlyCosts", Code::Ok), ("ListTenants", Code::Internal)]
        {
            let path = format!("/secureconnect.reports.v1.ReportsService/{rpc}");
            let request = Request::post(path).header(CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap();
            let response = service.call(note_arrival(request)).await.unwrap();
            assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), code, "{rpc}");
        }
        // Their permits are free again, and they are counted as what they are.
        let text = metrics.to_text().unwrap();
        let full_name = "secureconnect.reports.v1.ReportsService/ListTenants";
        assert!(text.contains(&format!("scr_running_calls{{rpc_method=\"{full_name}\"}} 0")), "{text}");
        let failures = format!("scr_call_failures_total{{rpc_method=\"{full_name}\",reason=\"INTERNAL\"}} 2");
        assert!(text.contains(&failures), "{text}");
    }
}
