//! The RPCs of this service, as the audit log, the limits and the metrics know them.

const PACKAGE: &str = "/secureconnect.reports.v1.";

/// An RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rpc {
    ListTenants,
    GetDetailedUsage,
    GetMonthlyCosts,
    ImportUsage,
    WithdrawUsage,
    /// A path that a caller made up, or that of a later version.
    Unknown,
}

/// What a call takes of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// A few short statements.
    Short,
    /// A stream that goes on for as long as its reader takes.
    Download,
    /// Connections of its own, memory and disk.
    Import,
}

// === impl Rpc ===

impl Rpc {
    pub(super) const KNOWN: [Self; 5] =
        [Self::ListTenants, Self::GetDetailedUsage, Self::GetMonthlyCosts, Self::ImportUsage, Self::WithdrawUsage];

    pub(super) fn of_path(path: &str) -> Self {
        let Some(name) = path.strip_prefix(PACKAGE) else { return Self::Unknown };
        Self::KNOWN.into_iter().find(|rpc| rpc.name() == name).unwrap_or(Self::Unknown)
    }

    /// Within the package. Paths are the caller's words; only those that mean something are repeated.
    pub(super) fn name(self) -> &'static str {
        self.full_name().strip_prefix("secureconnect.reports.v1.").unwrap_or("unknown")
    }

    /// As OpenTelemetry has it (semantic conventions for RPC, `rpc.method`).
    pub(super) fn full_name(self) -> &'static str {
        match self {
            Self::ListTenants => "secureconnect.reports.v1.ReportsService/ListTenants",
            Self::GetDetailedUsage => "secureconnect.reports.v1.ReportsService/GetDetailedUsage",
            Self::GetMonthlyCosts => "secureconnect.reports.v1.ReportsService/GetMonthlyCosts",
            Self::ImportUsage => "secureconnect.reports.v1.UsageImportService/ImportUsage",
            Self::WithdrawUsage => "secureconnect.reports.v1.UsageImportService/WithdrawUsage",
            Self::Unknown => "_OTHER",
        }
    }

    pub(super) fn weight(self) -> Weight {
        match self {
            Self::GetDetailedUsage => Weight::Download,
            Self::ImportUsage | Self::WithdrawUsage => Weight::Import,
            Self::ListTenants | Self::GetMonthlyCosts | Self::Unknown => Weight::Short,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_by_name() {
        assert_eq!(Rpc::of_path("/secureconnect.reports.v1.ReportsService/ListTenants"), Rpc::ListTenants);
        for path in
            ["", "/", "/secureconnect.reports.v1.", "/secureconnect.reports.v1.unknown", "/_OTHER", "/x/ListTenants"]
        {
            assert_eq!(Rpc::of_path(path), Rpc::Unknown, "{path:?}");
        }
        assert_eq!(Rpc::ImportUsage.name(), "UsageImportService/ImportUsage");
        assert_eq!(Rpc::Unknown.name(), "unknown");
    }
}
