//! The gRPC services: who may call what, and how an answer gets to its caller.

mod codes;
mod config;
mod connection;
mod file_descriptors;
mod health;
mod layers;
mod limits;
mod listener;
mod metrics_endpoint;
mod peer;
mod policy;
mod rpc;
mod serve;
mod server;
mod status;
mod tls;
mod turns;
mod unknown_service;

pub use config::{ConnectionLimits, ServeError, ServerConfig};
pub use limits::{CallLimit, CallLimits};
pub use rpc::{AssetCache, CurrentAssets, RecordEncoder};
pub use server::RunningServer;
pub use tls::TlsConfig;
