//! What Secure Connect tenants used and what it costs.
//!
//! Data flows one way; a module knows only what lies to its right:
//!
//! ```text
//! cli → client, server → grpc → import, report → store → catalog, auth → model
//! ```
//!
//! `limits`, `metrics`, `network`, `reload`, `tls` and `trace` are leaves that whoever needs them knows; they know no other module.

pub mod auth;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod grpc;
#[cfg(feature = "bench")]
pub mod hot;
pub mod import;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod network;
pub mod postgres;
pub mod proto;
pub mod reload;
pub mod report;
pub mod server;
pub mod store;
pub mod tls;
pub mod trace;
