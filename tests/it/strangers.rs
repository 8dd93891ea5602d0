//! Client commands among strangers: servers that answer something else or nothing.

mod lists;
mod reports;
mod server;
mod stalls;
