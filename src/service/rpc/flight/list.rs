//! `ListFlights`: the reports that a caller may ask for.

use std::collections::{BTreeMap, BTreeSet};

use arrow_flight::{Criteria, FlightInfo};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use tracing::Instrument as _;

use super::query::{costs_path, usage_path};
use crate::{
    auth::TenantScope,
    model::{Month, OrganizationId, TenantId},
    reports::{InvalidField, PageSize, ReportError, TenantsRequest, get_tenant, list_tenants},
    service::{
        layers::{Caller, Notes},
        rpc::{list_tenants::MAX_SEARCH_BYTES, parse::bounded, produce::produce, services::Reports},
    },
    store::Store,
};

/// Answers that wait for the transport.
const QUEUED_FLIGHTS: usize = 64;

pub(super) type Flights = ReceiverStream<Result<FlightInfo, Status>>;

/// Sends flights.
struct Lister {
    store: Store,
    scope: TenantScope,
    notes: Notes,
    flights: mpsc::Sender<Result<FlightInfo, Status>>,
}

/// The criteria are a text that is searched for as `ListTenants` does.
pub(super) async fn handle(reports: &Reports, request: Request<Criteria>) -> Result<Flights, Status> {
    let caller = Caller::of(&request)?;
    let search = String::from_utf8(request.into_inner().expression.to_vec());
    let search = search.map_err(|_| InvalidField::new("criteria.expression", "is not UTF-8"))?;
    let search = bounded("criteria.expression", search, MAX_SEARCH_BYTES)?;
    let (flights, receiver) = mpsc::channel(QUEUED_FLIGHTS);
    let lister = Lister { store: reports.store.clone(), scope: caller.scope, notes: caller.notes, flights };
    let sender = lister.flights.clone();
    let run = async move { lister.run(search).await.map_err(Status::from) };
    tokio::spawn(produce(sender, run).in_current_span());
    Ok(ReceiverStream::new(receiver))
}

/// The months that tenants of organizations of one name have usage of.
#[derive(Default)]
struct Months {
    name: String,
    by_organization: BTreeMap<String, (OrganizationId, BTreeSet<Month>)>,
}

// === impl Lister ===

impl Lister {
    async fn run(&self, search: String) -> Result<(), ReportError> {
        let page_size = PageSize::MAX;
        let mut request = TenantsRequest { search, organization_id: None, page_size, page_token: String::new() };
        // Tenants are in the order of the names of their organizations, which several may have.
        let mut current = Months::default();
        while !self.flights.is_closed() {
            let page = list_tenants(&self.store, &self.scope, &request).await?;
            for tenant in page.tenants {
                if tenant.organization_name != current.name {
                    self.send_costs(std::mem::take(&mut current)).await;
                    current.name = tenant.organization_name;
                }
                let id = tenant.organization_id;
                let (_, months) =
                    current.by_organization.entry(id.to_string()).or_insert_with(|| (id, BTreeSet::new()));
                months.extend(self.send_usage(tenant.id).await?);
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        self.send_costs(current).await;
        Ok(())
    }

    /// Sends a flight for each month that the tenant has usage of.
    async fn send_usage(&self, tenant: TenantId) -> Result<Vec<Month>, ReportError> {
        let found = match get_tenant(&self.store, &self.scope, tenant, None).await {
            // It was there a moment ago.
            Err(ReportError::TenantNotFound(_)) => return Ok(Vec::new()),
            found => found?,
        };
        for month in &found.months {
            let flight = FlightInfo::new().with_descriptor(usage_path(tenant, month.month));
            self.send(flight.with_total_records(month.record_count)).await;
        }
        Ok(found.months.iter().map(|month| month.month).collect())
    }

    /// Sends a flight for each month that tenants of an organization have usage of.
    async fn send_costs(&self, months: Months) {
        for (organization, months) in months.by_organization.into_values() {
            for month in months {
                self.send(FlightInfo::new().with_descriptor(costs_path(organization, month))).await;
            }
        }
    }

    async fn send(&self, flight: FlightInfo) {
        // It fails when the client is gone.
        if self.flights.send(Ok(flight)).await.is_ok() {
            self.notes.add_rows(1);
        }
    }
}
