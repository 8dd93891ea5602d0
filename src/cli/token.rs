//! `token`: a token of one's own for development, signed by a key that lies in a folder.

use std::{path::PathBuf, time::Duration};

use super::{CommandError, args::TokenArgs, import::account, output};
use crate::{
    auth::{DevelopmentKey, TokenRequest},
    embedded::default_data_dir,
};

pub(super) fn run(args: TokenArgs) -> Result<(), CommandError> {
    let folder = args.key_dir.unwrap_or_else(default_key_dir);
    let key = DevelopmentKey::open_or_create(&folder)?;
    let organizations = args.organization.iter().map(|organization| organization.0.clone());
    let token = key.mint(&TokenRequest {
        issuer: args.issuer.clone(),
        audience: args.audience.clone(),
        subject: args.subject.unwrap_or_else(account),
        roles: args.role,
        organizations: organizations.collect(),
        lifetime: Duration::from_secs(args.expires_in_seconds),
    })?;
    output::note(&format!(
        "This token is for development. A server accepts it if it is started with:\n  --oidc-issuer {} --audience {} \
         --jwks '{}'",
        args.issuer,
        args.audience.join(","),
        key.jwks_file().display()
    ));
    Ok(output::print(&format!("{token}\n"))?)
}

fn default_key_dir() -> PathBuf {
    // Beside the private PostgreSQL's folder, which must contain nothing else.
    default_data_dir().with_file_name("secure-connect-reports-development-key")
}
