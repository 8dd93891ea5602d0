//! The columns of the report.

/// The columns of the report.
pub struct Columns;

// === impl Columns ===

impl Columns {
    /// The headers, in the report's order.
    pub const NAMES: [&'static str; 14] = [
        "organizationId",
        "tenantId",
        "assetName",
        "assetId",
        "assetType",
        "meterName",
        "meterId",
        "start",
        "end",
        "quantity",
        "billingRegion",
        "platform",
        "trial",
        "trialExpiry",
    ];
}
