//! Client commands among strangers: servers that answer something else or nothing, files that others put in the way, outputs that
//! nobody reads, texts that a terminal would obey.

mod breakdown;
mod catalogs;
mod columns;
mod comparisons;
mod files;
mod lists;
mod outputs;
mod parquet;
mod reports;
mod server;
mod stalls;
mod terminal;
