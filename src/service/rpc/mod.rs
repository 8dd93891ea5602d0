//! The RPCs, one a file: parse, call, encode. Nothing else happens here.

mod billing_service;
mod breakdown_stream;
mod close_month;
mod compare_costs;
mod compare_stream;
mod cost_breakdown;
mod detailed_usage;
mod flight;
mod get_statement;
mod get_tenant;
mod import_service;
mod import_usage;
mod list_loads;
mod list_organizations;
mod list_prices;
mod list_statement_keys;
mod list_statements;
mod list_tenants;
mod message_stream;
mod monthly_costs;
mod parse;
mod produce;
mod raw_server;
mod records;
mod reports_service;
mod services;
mod usage;
mod withdraw_usage;

pub(in crate::service) use flight::Columns;
pub(in crate::service) use raw_server::ReportsServer;
pub(in crate::service) use services::{Billing, ImportBounds, ImportService, Reports};
pub use usage::{AssetCache, CurrentAssets, RecordEncoder};
