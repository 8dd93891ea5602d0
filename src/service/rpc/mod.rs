//! The RPCs, one a file: parse, call, encode. Nothing else happens here.

mod breakdown_stream;
mod cost_breakdown;
mod detailed_usage;
mod import_service;
mod import_usage;
mod list_tenants;
mod monthly_costs;
mod parse;
mod produce;
mod raw_server;
mod records;
mod reports_service;
mod services;
mod usage;
mod withdraw_usage;

pub(in crate::service) use raw_server::ReportsServer;
pub(in crate::service) use services::{ImportBounds, ImportService, Reports};
pub use usage::{AssetCache, CurrentAssets, RecordEncoder};
