//! The integration tests: one program, so that one PostgreSQL serves them all.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    reason = "tests"
)]

mod assets;
mod audit;
mod auth;
mod auth_keys;
mod blocks_first;
mod boundaries;
mod bounds;
mod breakdown;
mod catalog;
mod charging;
mod clients;
mod clock_model;
mod clocks;
mod command_line;
mod compare;
mod concurrency;
mod costs;
mod database_loss;
mod database_roles;
mod database_settings;
mod database_tls;
mod deliveries;
mod documents;
mod features;
mod flight;
mod floods;
mod fuzz;
mod golden;
mod import;
mod import_bounds;
mod import_usage;
mod in_force;
mod kill;
mod large_bills;
mod layers;
mod limits;
mod listing;
mod loads;
mod logs;
mod months;
mod one_moment;
mod organizations;
mod overload;
mod plans;
mod prices;
mod pricing;
mod private_postgresql;
mod properties;
mod publication;
mod purge;
mod records_apart;
mod request_bounds;
mod resume;
mod schema;
mod scope;
mod search;
mod seen;
mod spread;
mod start;
mod statements;
mod strangers;
mod support;
mod tls;
mod tokens;
mod unread;
mod usage;
mod values;
