//! What Secure Connect tenants used and what it costs.
//!
//! Data flows one way; a module knows only what stands below it:
//!
//! ```text
//! cli
//! client      service
//!             billing
//!             reports     ingest
//!             store
//!             database
//!             auth        catalog     telemetry     embedded
//!             statement
//! contract
//! model
//! ```
//!
//! `columns` is `client` with reports as columns of Arrow. The feature `client` has the modules `client`, `contract`, `model` and `network` alone; `server` has all but `cli`, `client`
//! and `embedded`; `cli` has all of them.
//!
//! `network`, `reload` and `tls` are leaves that whoever needs them knows; they know no other module.

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod billing;
#[cfg(feature = "server")]
pub mod catalog;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod contract;
#[cfg(feature = "server")]
pub mod database;
#[cfg(feature = "cli")]
pub mod embedded;
#[cfg(feature = "server")]
pub mod ingest;
pub mod model;
pub mod network;
#[cfg(feature = "server")]
pub mod reload;
#[cfg(feature = "server")]
pub mod reports;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod statement;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tls;
