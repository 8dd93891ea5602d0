//! Who asks, and what they may see.
//!
//! An [`Authenticator`] turns a token or a client certificate into a [`Principal`]. Only this module makes a
//! [`TenantScope`], a principal gives it away only for a role that it has, and every query for tenants takes one: a
//! handler that forgot to ask does not compile.

mod authenticator;
mod certificate;
mod claims;
mod development;
mod error;
mod issuer;
mod keys;
mod principal;
mod token;
mod unique_json;

pub use authenticator::{AuthConfig, AuthConfigError, Authenticator, CertificateConfig, Credentials};
pub use claims::ClaimPath;
pub use development::{DevelopmentKey, TokenRequest};
pub use error::Unauthenticated;
pub use principal::{Denied, Principal, Role, TenantScope};
pub use token::TokenConfig;
