//! What a breakdown is made of.

use crate::{
    reports::{CostLine, TenantMonth},
    store::SnapshotTime,
};

/// A tenant's month: its lines, and the moment that its records are to be read as of.
pub(in crate::reports) struct TenantBill {
    pub(in crate::reports) report: TenantMonth,
    pub(in crate::reports) snapshot: SnapshotTime,
    /// In order.
    pub(in crate::reports) lines: Vec<CostLine>,
}
