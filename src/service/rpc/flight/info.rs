//! `GetFlightInfo` and `GetSchema`: what a query would answer, and by which tickets it is read.

use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket as FlightTicket};
use arrow_schema::SchemaRef;
use prost::Message as _;
use tonic::{Request, Status};

use super::{costs, costs::CostsOutline, data::schema_bytes, focus, metadata, query::Query};
use crate::{
    contract::{proto, usage_schema},
    model::{MonthRange, OrganizationId, TenantId},
    reports::{CostsRequest, FocusOutline, FocusRequest, InvalidField, Ticket, UsageOutline, UsageRequest},
    service::{layers::Caller, rpc::services::Reports},
};

/// How much an answer may take with all of its tickets: clients refuse more than 4 MiB by default.
const MAX_TICKETS_BYTES: usize = 1 << 20;
const MAX_SLICES: usize = 31;

/// What is said before columns are read.
pub(super) struct Outline {
    schema: SchemaRef,
    tickets: Vec<Ticket>,
    record_count: Option<u64>,
}

pub(super) async fn handle(reports: &Reports, request: Request<FlightDescriptor>) -> Result<FlightInfo, Status> {
    let caller = Caller::of(&request)?;
    let descriptor = request.into_inner();
    let outline = outline(reports, &caller, &descriptor).await?;
    let endpoint = |ticket: &Ticket| FlightEndpoint::new().with_ticket(FlightTicket::new(ticket.seal()));
    let mut info = FlightInfo::new()
        .with_descriptor(descriptor)
        .with_endpoints(outline.tickets.iter().map(endpoint).collect())
        .with_total_records(outline.record_count.map_or(-1, u64::cast_signed))
        .with_ordered(true);
    info.schema = schema_bytes(&outline.schema)?;
    Ok(info)
}

pub(super) async fn outline(
    reports: &Reports,
    caller: &Caller,
    descriptor: &FlightDescriptor,
) -> Result<Outline, Status> {
    match Query::of(descriptor)? {
        Query::Usage(request) => usage(reports, caller, request).await,
        Query::Costs(request) => costs(reports, caller, request).await,
        Query::Focus(request) => focus(reports, caller, request).await,
    }
}

async fn usage(
    reports: &Reports,
    caller: &Caller,
    mut request: proto::GetDetailedUsageRequest,
) -> Result<Outline, Status> {
    let query = UsageRequest::try_from(request.clone())?;
    caller.notes.tenant(query.tenant_id);
    caller.notes.months(query.month, query.month);
    let max_slices = (MAX_TICKETS_BYTES / request.encoded_len().max(1)).clamp(1, MAX_SLICES);
    let found = UsageOutline::find(&reports.store, &caller.scope, &query, max_slices).await;
    let outline = caller.answer(found)?;
    caller.notes.organization(outline.header.tenant.organization_id());
    // A statement has its own moment.
    if query.statement.is_none() {
        request.as_of = Some(outline.as_of.into());
    }
    let request = request.encode_to_vec();
    Ok(Outline {
        schema: usage_schema(
            outline.quantities,
            metadata::of_usage(&outline.header, outline.as_of, outline.record_count),
        ),
        tickets: outline.slices.iter().map(|slice| Ticket::Usage(*slice, request.clone())).collect(),
        record_count: outline.record_count,
    })
}

async fn costs(
    reports: &Reports,
    caller: &Caller,
    mut request: proto::GetMonthlyCostsRequest,
) -> Result<Outline, Status> {
    let query = costs_request(request.clone())?;
    note_bill(caller, query.organization_id, query.tenant_id, query.months);
    let (organization, months) = (query.organization_id, query.months);
    let outline = caller.answer(CostsOutline::find(reports, &caller.scope, query).await)?;
    request.as_of = Some(outline.as_of.into());
    let record_count = Some(outline.line_count);
    Ok(Outline {
        schema: costs::schema(outline.forms, metadata::of_costs(organization, months, outline.as_of, record_count)),
        tickets: vec![Ticket::Costs(outline.forms, request.encode_to_vec())],
        record_count,
    })
}

async fn focus(
    reports: &Reports,
    caller: &Caller,
    mut request: proto::GetFocusCostsRequest,
) -> Result<Outline, Status> {
    let query = FocusRequest::try_from(request.clone())?;
    note_bill(caller, query.organization_id, query.tenant_id, query.months);
    let found = FocusOutline::find(&reports.store, &reports.cost_totals, &caller.scope, &query).await;
    let outline = caller.answer(found)?;
    request.as_of = Some(outline.as_of.into());
    let metadata = metadata::of_focus(&query, outline.as_of, outline.charge_count);
    Ok(Outline {
        schema: focus::schema(query.version, outline.forms, metadata),
        tickets: vec![Ticket::Focus(outline.forms, request.encode_to_vec())],
        record_count: outline.charge_count,
    })
}

/// A request for all pages, each of the greatest size.
pub(super) fn costs_request(request: proto::GetMonthlyCostsRequest) -> Result<CostsRequest, InvalidField> {
    CostsRequest::try_from(proto::GetMonthlyCostsRequest { page_size: i32::MAX, ..request })
}

pub(super) fn note_bill(caller: &Caller, organization: OrganizationId, tenant: Option<TenantId>, months: MonthRange) {
    caller.notes.organization(organization);
    tenant.into_iter().for_each(|tenant| caller.notes.tenant(tenant));
    caller.notes.months(months.start(), months.end());
}

// === impl Outline ===

impl Outline {
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}
