//! What only the provider knows of a bill.

use crate::model::ServiceSubcategory;

/// The names that stand in each row of FOCUS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FocusProvider {
    /// Who sells the service.
    pub provider_name: String,
    /// Who makes it.
    pub publisher_name: String,
    pub invoice_issuer_name: String,
    /// On whose infrastructure it runs; `None`: it is not said.
    pub host_provider_name: Option<String>,
    pub service_name: String,
    pub service: ServiceSubcategory,
}

/// What the service is called where nothing else is said.
pub const SERVICE_NAME: &str = "Secure Connect";

// === impl FocusProvider ===

impl Default for FocusProvider {
    fn default() -> Self {
        let name = || SERVICE_NAME.to_owned();
        Self {
            provider_name: name(),
            publisher_name: name(),
            invoice_issuer_name: name(),
            host_provider_name: None,
            service_name: name(),
            service: ServiceSubcategory::NETWORK_CONNECTIVITY,
        }
    }
}
