//! What a flight is asked for by: a path for people, or a request of the contract for programs.

use arrow_flight::{FlightDescriptor, flight_descriptor::DescriptorType};
use prost::Message;
use prost_types::Any;
use tonic::Status;

use crate::{
    contract::proto::{GetDetailedUsageRequest, GetFocusCostsRequest, GetMonthlyCostsRequest},
    model::{FocusVersion, Month, OrganizationId, TenantId},
    reports::InvalidField,
    service::{layers::check_message, policy::Rpc, rpc::parse::required},
};

/// A request for columns.
pub(super) enum Query {
    Usage(GetDetailedUsageRequest),
    Costs(GetMonthlyCostsRequest),
    Focus(GetFocusCostsRequest),
}

const USAGE: &str = "detailed_usage";
const COSTS: &str = "monthly_costs";
const FOCUS: &str = "focus_costs";

// === impl Query ===

impl Query {
    pub(super) fn of(descriptor: &FlightDescriptor) -> Result<Self, Status> {
        match descriptor.r#type() {
            DescriptorType::Path => Ok(Self::of_path(&descriptor.path)?),
            DescriptorType::Cmd => Self::of_command(&descriptor.cmd),
            DescriptorType::Unknown => Err(InvalidField::new("descriptor.type", "must be PATH or CMD").into()),
        }
    }

    fn of_path(path: &[String]) -> Result<Self, InvalidField> {
        // Columns of FOCUS may have a version behind.
        let (report, id, month, version) = match path {
            [report, id, month] => (report, id, month, None),
            [report, id, month, version] if report == FOCUS => (report, id, month, Some(version)),
            _ => return Err(no_such_path()),
        };
        let month = || required("descriptor.path[2]", month).map(|month: Month| Some(month.into()));
        let id = || id.clone();
        match report.as_str() {
            USAGE => {
                Ok(Self::Usage(GetDetailedUsageRequest { tenant_id: id(), month: month()?, ..Default::default() }))
            }
            COSTS => {
                let (organization_id, start_month) = (id(), month()?);
                Ok(Self::Costs(GetMonthlyCostsRequest { organization_id, start_month, ..Default::default() }))
            }
            FOCUS => {
                let (organization_id, start_month) = (id(), month()?);
                let version = version.map(|text| required::<FocusVersion>("descriptor.path[3]", text)).transpose()?;
                let version = version.map_or(0, |version| version.code().into());
                Ok(Self::Focus(GetFocusCostsRequest { organization_id, start_month, version, ..Default::default() }))
            }
            _ => Err(no_such_path()),
        }
    }

    fn of_command(command: &[u8]) -> Result<Self, Status> {
        let unreadable = |_| InvalidField::new("descriptor.cmd", "not a google.protobuf.Any with a request");
        let Any { type_url, value } = Any::decode(command).map_err(unreadable)?;
        match type_url.rsplit('/').next() {
            Some("secureconnect.reports.v1.GetDetailedUsageRequest") => Self::usage("descriptor.cmd", &value),
            Some("secureconnect.reports.v1.GetMonthlyCostsRequest") => Self::costs("descriptor.cmd", &value),
            Some("secureconnect.reports.v1.GetFocusCostsRequest") => Self::focus("descriptor.cmd", &value),
            _ => {
                let reason = "must have a GetDetailedUsageRequest, a GetMonthlyCostsRequest or a GetFocusCostsRequest of \
                              secureconnect.reports.v1";
                Err(InvalidField::new("descriptor.cmd", reason).into())
            }
        }
    }

    /// A request for usage that came in a field.
    pub(super) fn usage(field: &str, request: &[u8]) -> Result<Self, Status> {
        let request: GetDetailedUsageRequest = read(field, "ReportsService/GetDetailedUsage", request)?;
        if !request.resume_token.is_empty() {
            return Err(InvalidField::new("resume_token", "columns have none: ask for the ticket again").into());
        }
        Ok(Self::Usage(request))
    }

    /// A request for costs that came in a field.
    pub(super) fn costs(field: &str, request: &[u8]) -> Result<Self, Status> {
        let request: GetMonthlyCostsRequest = read(field, "ReportsService/GetMonthlyCosts", request)?;
        if !request.page_token.is_empty() {
            return Err(InvalidField::new("page_token", "columns have no pages").into());
        }
        Ok(Self::Costs(request))
    }

    /// A request for charges that came in a field. It has the bounds of one for costs, of which it has all but pages.
    pub(super) fn focus(field: &str, request: &[u8]) -> Result<Self, Status> {
        Ok(Self::Focus(read(field, "ReportsService/GetMonthlyCosts", request)?))
    }
}

/// The path by which people ask for a tenant's usage.
pub(super) fn usage_path(tenant: TenantId, month: Month) -> FlightDescriptor {
    FlightDescriptor::new_path(vec![USAGE.to_owned(), tenant.to_string(), month.to_string()])
}

/// The path by which people ask for an organization's costs.
pub(super) fn costs_path(organization: OrganizationId, month: Month) -> FlightDescriptor {
    FlightDescriptor::new_path(vec![COSTS.to_owned(), organization.to_string(), month.to_string()])
}

/// A request that came inside another message, within the bounds of its own RPC.
fn read<M: Message + Default>(field: &str, rpc: &str, request: &[u8]) -> Result<M, Status> {
    let rpc = Rpc::of_path(&format!("/secureconnect.reports.v1.{rpc}"));
    check_message(request, rpc.request_bounds())?;
    Ok(M::decode(request).map_err(|_| InvalidField::new(field, "has a request that cannot be read"))?)
}

fn no_such_path() -> InvalidField {
    let reason = format!(
        "must be {USAGE}, a tenant's id and a month, or {COSTS} or {FOCUS}, an organization's id and a month; {FOCUS} may have \
         a version of FOCUS behind"
    );
    InvalidField::new("descriptor.path", reason)
}
