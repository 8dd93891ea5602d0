//! The RPCs: parse, call, encode. Nothing else happens here.

mod import_service;
mod parse;
mod reports_service;
mod to_proto;
mod usage;

pub(in crate::service) use import_service::ImportService;
pub(in crate::service) use reports_service::Reports;
pub(in crate::service) use usage::ReportsServer;
pub use usage::{AssetCache, CurrentAssets, RecordEncoder};
