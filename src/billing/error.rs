//! Why a month was not closed.

use super::Findings;
use crate::{
    model::{Month, TenantId, UtcTime},
    reports::CostLine,
    statement::MissingDays,
    store::{Hidden, StoreError},
};

/// A month was not closed, and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The organization does not exist, or the caller may not see it.
    #[error("there is no such organization")]
    OrganizationNotFound(Hidden),
    #[error("{month} is not over: it ends at {}, and it is {now}", month.end())]
    NotOver { month: Month, now: UtcTime },
    /// A month before is open.
    #[error("months close in order: close {next} before {month}")]
    OutOfOrder { month: Month, next: Month },
    /// There are statements of later months, and none of this one.
    #[error("{month} was closed without usage, before the first statement: months are closed up to {newest}")]
    BeforeFirst { month: Month, newest: Month },
    #[error(
        "no price covers {} lines of {month}: {}; apply a price, or allow them, to be billed as adjustments once they have one",
        lines.total,
        lines.words(|line| format!("{} of {} in {}", line.meter.name, line.tenant_name, line.billing_region.as_str()))
    )]
    Unpriced { month: Month, lines: Findings<CostLine> },
    #[error(
        "days of {month} are missing: {}; have them delivered, or allow it, and what comes later is billed as adjustments",
        days.words(|(tenant, missing)| {
            let days = missing.days.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            format!("{days} of tenant {tenant} from {}", missing.source)
        })
    )]
    MissingDays { month: Month, days: Findings<(TenantId, MissingDays)> },
    #[error("another month of the organization was closed meanwhile; try again")]
    Conflict,
    #[error(transparent)]
    Store(#[from] StoreError),
}
