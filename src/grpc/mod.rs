//! The services as gRPC: parse, authorize, call, encode. Nothing else happens here.

mod import_service;
mod parse;
mod reports_service;
mod status;
mod to_proto;
mod usage_stream;

pub use import_service::ImportService;
pub use reports_service::Reports;

use crate::auth::Principal;

/// The caller of a request, whom the server's authentication has put there.
fn principal<T>(request: &tonic::Request<T>) -> Result<Principal, tonic::Status> {
    request.extensions().get::<Principal>().cloned().ok_or_else(status::unauthenticated)
}
