//! What Secure Connect tenants used and what it costs.
//!
//! Data flows one way; a module knows only what stands below it:
//!
//! ```text
//! cli
//! client      service
//!             reports     ingest
//!             store
//!             database
//!             auth        catalog     telemetry     embedded
//! contract
//! model
//! ```
//!
//! `network`, `reload` and `tls` are leaves that whoever needs them knows; they know no other module.

pub mod auth;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod contract;
pub mod database;
pub mod embedded;
pub mod ingest;
pub mod model;
pub mod network;
pub mod reload;
pub mod reports;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod tls;
