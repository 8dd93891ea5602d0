//! The gRPC services: who may call what, and how an answer gets to its caller.

mod file_descriptors;
mod health;
mod layers;
mod listener;
mod metrics_endpoint;
mod policy;
mod rpc;
mod server;
mod status;
mod tls;

pub use layers::{CallLimits, Share};
pub use rpc::{AssetCache, CurrentAssets, RecordEncoder};
pub use server::{ConnectionLimits, RunningServer, ServeError, ServerConfig};
pub use tls::TlsConfig;
