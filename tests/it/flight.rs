//! Arrow Flight: columns of usage and costs.

mod clients;
pub(crate) mod focus;
mod focus_columns;
mod focus_edges;
mod requests;
mod usage;

use secure_connect_reports::contract::proto::{GetDetailedUsageRequest, UsageFilter};

use crate::support::calls::{detailed_usage, flight_path};

/// The usage of a tenant in February 2022.
fn usage_of(tenant: &str) -> arrow_flight::FlightDescriptor {
    flight_path("detailed_usage", tenant, "2022-02")
}

fn filtered(tenant: &str, filter: UsageFilter) -> GetDetailedUsageRequest {
    GetDetailedUsageRequest { filter: Some(filter), ..detailed_usage(tenant) }
}
