//! The RPCs, one a file: parse, call, encode. Nothing else happens here.

mod detailed_usage;
mod import_service;
mod import_usage;
mod list_tenants;
mod monthly_costs;
mod parse;
mod records;
mod reports_service;
mod usage;
mod withdraw_usage;

pub(in crate::service) use import_service::ImportService;
pub(in crate::service) use reports_service::Reports;
pub(in crate::service) use usage::ReportsServer;
pub use usage::{AssetCache, CurrentAssets, RecordEncoder};
