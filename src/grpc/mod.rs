//! The services as gRPC: parse, authorize, call, encode. Nothing else happens here.

mod asset_cache;
mod audit;
mod caller;
mod encoded;
mod guard;
mod import_service;
mod parse;
mod reports_service;
mod status;
mod to_proto;
mod usage_encoder;
mod usage_stream;

pub use audit::OpenCalls;
pub use encoded::ReportsServer;
pub use guard::{Guard, Peer};
pub use import_service::ImportService;
pub use reports_service::Reports;
#[cfg(feature = "bench")]
pub(crate) use {asset_cache::CurrentAssets, usage_encoder::RecordEncoder};
