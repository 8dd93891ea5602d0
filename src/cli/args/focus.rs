//! What `serve` takes for bills in the terms of FOCUS.

use clap::Args as ClapArgs;

use crate::{
    model::{ServiceSubcategory, printable},
    reports::{FocusProvider, SERVICE_NAME},
};

/// Names that only the provider knows.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "FOCUS")]
pub(in crate::cli) struct FocusArgs {
    /// Who sells the service, in bills by FOCUS: `ProviderName`, or `ServiceProviderName` in version 1.4.
    #[arg(long, env = "SCR_FOCUS_PROVIDER_NAME", default_value = SERVICE_NAME, value_name = "NAME", value_parser = name)]
    focus_provider_name: String,
    /// Who makes the service: `PublisherName` [default: the value of `--focus-provider-name`].
    #[arg(long, env = "SCR_FOCUS_PUBLISHER_NAME", value_name = "NAME", value_parser = name)]
    focus_publisher_name: Option<String>,
    /// Who sends the invoices: `InvoiceIssuerName` [default: the value of `--focus-provider-name`].
    #[arg(long, env = "SCR_FOCUS_INVOICE_ISSUER_NAME", value_name = "NAME", value_parser = name)]
    focus_invoice_issuer_name: Option<String>,
    /// Whose infrastructure the service runs on: `HostProviderName` in version 1.4. Unset: it is null.
    #[arg(long, env = "SCR_FOCUS_HOST_PROVIDER_NAME", value_name = "NAME", value_parser = name)]
    focus_host_provider_name: Option<String>,
    /// What the service is called: `ServiceName`.
    #[arg(long, env = "SCR_FOCUS_SERVICE_NAME", default_value = SERVICE_NAME, value_name = "NAME", value_parser = name)]
    focus_service_name: String,
    /// What the service is for: `ServiceSubcategory`, as FOCUS lists them. `ServiceCategory` follows from it.
    #[arg(
        long,
        env = "SCR_FOCUS_SERVICE_SUBCATEGORY",
        default_value = ServiceSubcategory::NETWORK_CONNECTIVITY.name(),
        value_name = "SUBCATEGORY"
    )]
    focus_service_subcategory: ServiceSubcategory,
}

/// FOCUS has no empty texts.
fn name(text: &str) -> Result<String, String> {
    const MAX_BYTES: usize = 256;
    if !text.contains(char::is_alphanumeric) || text.len() > MAX_BYTES || printable(text) != text {
        return Err(format!(
            "must have 1 to {MAX_BYTES} bytes, a letter or digit at least, and no characters that control or cannot be seen"
        ));
    }
    Ok(text.to_owned())
}

// === impl FocusArgs ===

impl FocusArgs {
    pub(in crate::cli) fn provider(&self) -> FocusProvider {
        let or_provider = |name: &Option<String>| name.as_ref().unwrap_or(&self.focus_provider_name).clone();
        FocusProvider {
            provider_name: self.focus_provider_name.clone(),
            publisher_name: or_provider(&self.focus_publisher_name),
            invoice_issuer_name: or_provider(&self.focus_invoice_issuer_name),
            host_provider_name: self.focus_host_provider_name.clone(),
            service_name: self.focus_service_name.clone(),
            service: self.focus_service_subcategory,
        }
    }
}
