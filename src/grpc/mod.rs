//! The services as gRPC: parse, authorize, call, encode. Nothing else happens here.

mod arriving;
mod asset_cache;
mod audit;
mod caller;
mod encoded;
mod guard;
mod import_service;
mod limits;
mod parse;
mod reports_service;
mod rpc;
mod status;
mod to_proto;
mod usage_encoder;
mod usage_stream;
mod watched;

pub use audit::OpenCalls;
pub use encoded::ReportsServer;
pub use guard::{Gate, Guard, Peer};
pub use import_service::ImportService;
pub use limits::{CallLimits, Share};
pub use reports_service::Reports;
#[cfg(feature = "bench")]
pub(crate) use {asset_cache::CurrentAssets, usage_encoder::RecordEncoder};
