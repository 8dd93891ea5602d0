//! The rows themselves.

use super::{AuditField, CallClass, Idempotency, ListBound, MessageBounds, Policy};
use crate::{
    auth::Role,
    model::{BreakdownFilter, UsageFilter},
};

/// Room for every text of a short call, several times over.
pub(super) const SHORT_REQUEST: MessageBounds = MessageBounds { bytes: 16 << 10, lists: &[] };
/// Room for lists of as many names as there may be, each of the greatest length.
const USAGE_REQUEST: MessageBounds = MessageBounds {
    bytes: 1 << 20,
    lists: &[
        ListBound { name: "filter.asset_types", path: &[3, 1], max: UsageFilter::MAX_ENTRIES, is_packed: true },
        ListBound { name: "filter.asset_ids", path: &[3, 2], max: UsageFilter::MAX_ENTRIES, is_packed: false },
        ListBound { name: "filter.meter_names", path: &[3, 3], max: UsageFilter::MAX_ENTRIES, is_packed: false },
        ListBound { name: "filter.billing_regions", path: &[3, 4], max: UsageFilter::MAX_ENTRIES, is_packed: true },
    ],
};
/// As many names, and a few groups.
const BREAKDOWN_REQUEST: MessageBounds = MessageBounds {
    bytes: 1 << 20,
    lists: &[
        ListBound { name: "group_by", path: &[5], max: 16, is_packed: true },
        ListBound { name: "filter.asset_types", path: &[6, 1], max: BreakdownFilter::MAX_ENTRIES, is_packed: true },
        ListBound { name: "filter.asset_ids", path: &[6, 2], max: BreakdownFilter::MAX_ENTRIES, is_packed: false },
        ListBound { name: "filter.meter_names", path: &[6, 3], max: BreakdownFilter::MAX_ENTRIES, is_packed: false },
        ListBound { name: "filter.billing_regions", path: &[6, 4], max: BreakdownFilter::MAX_ENTRIES, is_packed: true },
    ],
};
/// A draft of a price list on one of the sides: prices of a thousand meters in five currencies.
const COMPARE_REQUEST: MessageBounds = MessageBounds {
    bytes: 1 << 20,
    lists: &[
        ListBound { name: "base.draft.prices", path: &[3, 4, 1], max: 5000, is_packed: false },
        ListBound { name: "base.draft.prices.tiers", path: &[3, 4, 1, 7], max: 20_000, is_packed: false },
        ListBound { name: "base.draft.meters", path: &[3, 4, 2], max: 5000, is_packed: false },
        ListBound { name: "target.draft.prices", path: &[4, 4, 1], max: 5000, is_packed: false },
        ListBound { name: "target.draft.prices.tiers", path: &[4, 4, 1, 7], max: 20_000, is_packed: false },
        ListBound { name: "target.draft.meters", path: &[4, 4, 2], max: 5000, is_packed: false },
    ],
};
/// What a stream of columns is asked for by: a path of three, or a request of the contract, which has its own bounds.
const FLIGHT_REQUEST: MessageBounds = MessageBounds {
    bytes: USAGE_REQUEST.bytes + (4 << 10),
    lists: &[ListBound { name: "descriptor.path", path: &[3], max: 16, is_packed: false }],
};
/// Such a request, and what a ticket says besides.
const FLIGHT_TICKET: MessageBounds = MessageBounds { bytes: USAGE_REQUEST.bytes + (4 << 10), lists: &[] };
/// A record takes some hundred bytes in memory, however small it is in the message.
const IMPORT_REQUEST: MessageBounds = MessageBounds {
    bytes: usize::MAX,
    lists: &[ListBound { name: "records", path: &[2], max: 10_000, is_packed: false }],
};

pub(super) static POLICIES: [Policy; 19] = {
    use AuditField::{Month, Organization, Rows, Tenant};
    use CallClass::{Download, Import, Short};
    use Idempotency::{Idempotent, NoSideEffects};
    [
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/ListTenants",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Organization, Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/GetTenant",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Organization, Tenant],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/ListLoads",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Tenant, Month, Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/GetDetailedUsage",
            role: Role::Reports,
            class: Download,
            audit_fields: &[Organization, Tenant, Month, Rows],
            request: USAGE_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/GetMonthlyCosts",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Organization, Tenant, Month, Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/GetCostBreakdown",
            role: Role::Reports,
            class: Download,
            audit_fields: &[Organization, Tenant, Month, Rows],
            request: BREAKDOWN_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/CompareCosts",
            role: Role::Reports,
            class: Download,
            audit_fields: &[Organization, Tenant, Month, Rows],
            request: COMPARE_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/ListOrganizations",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.ReportsService/ListPrices",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Month, Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.UsageImportService/ImportUsage",
            role: Role::UsageImport,
            class: Import,
            audit_fields: &[Tenant, Month, Rows],
            request: IMPORT_REQUEST,
            idempotency: Idempotent,
        },
        Policy {
            full_name: "secureconnect.reports.v1.UsageImportService/WithdrawUsage",
            role: Role::UsageImport,
            class: Import,
            audit_fields: &[Tenant, Month],
            request: SHORT_REQUEST,
            idempotency: Idempotent,
        },
        Policy {
            full_name: "secureconnect.reports.v1.BillingService/CloseMonth",
            role: Role::BillingClose,
            class: Import,
            audit_fields: &[Organization, Month],
            request: SHORT_REQUEST,
            idempotency: Idempotent,
        },
        Policy {
            full_name: "secureconnect.reports.v1.BillingService/ListStatements",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Organization, Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.BillingService/GetStatement",
            role: Role::Reports,
            class: Download,
            audit_fields: &[Organization, Month, Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "secureconnect.reports.v1.BillingService/ListStatementKeys",
            role: Role::Reports,
            class: Short,
            audit_fields: &[],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "arrow.flight.protocol.FlightService/ListFlights",
            role: Role::Reports,
            class: Download,
            audit_fields: &[Rows],
            request: SHORT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "arrow.flight.protocol.FlightService/GetFlightInfo",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Organization, Tenant, Month],
            request: FLIGHT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "arrow.flight.protocol.FlightService/GetSchema",
            role: Role::Reports,
            class: Short,
            audit_fields: &[Organization, Tenant, Month],
            request: FLIGHT_REQUEST,
            idempotency: NoSideEffects,
        },
        Policy {
            full_name: "arrow.flight.protocol.FlightService/DoGet",
            role: Role::Reports,
            class: Download,
            audit_fields: &[Organization, Tenant, Month, Rows],
            request: FLIGHT_TICKET,
            idempotency: NoSideEffects,
        },
    ]
};
