//! `usage`: downloads reports to files, complete or not at all.

mod header_line;
mod journal;
mod manifest;
mod one;
mod plan;
mod several;
mod source;
mod text;
mod transfer;

use std::{io, path::Path};

use super::{CommandError, args::UsageArgs};
use crate::{
    client::{Client, ClientError, TenantUsage},
    model::{OrganizationId, TenantId},
};
use transfer::failed;

pub(super) async fn run(args: UsageArgs) -> Result<(), CommandError> {
    if let ([tenant], Some(month)) = (args.tenant.as_slice(), args.month)
        && args.to.is_none_or(|to| to == month)
        && !args.output.as_deref().is_some_and(is_folder)
    {
        let tenant = tenant.clone();
        return one::run(args, &tenant, month).await;
    }
    if args.month.is_none() && args.organization.is_none() {
        return Err("--month is required, unless --organization and --statement say which reports".into());
    }
    let folder = args.output.clone().filter(|folder| folder != Path::new("-"));
    let folder = folder.ok_or("several reports need a folder: name one with --output")?;
    several::run(args, folder).await
}

/// Whether a path is that of a folder, which may not exist yet.
fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// The tenant that is asked for. Reports name no organization, so an id must be looked up: it may be that of another's tenant.
async fn find_tenant(
    client: &mut Client,
    organization: Option<OrganizationId>,
    id_or_name: &str,
) -> Result<TenantId, CommandError> {
    let Some(organization) = organization else { return Ok(client.find_tenant(id_or_name).await?) };
    let id = client.find_tenant_of(organization, id_or_name).await?;
    let TenantUsage { tenant, .. } = client.tenant_usage(id, None).await?;
    if tenant.organization_id.parse() == Ok(organization) {
        Ok(id)
    } else {
        Err(ClientError::UnknownTenant(id_or_name.to_owned()).into())
    }
}

/// Refuses to replace a file that nobody said may be replaced.
fn check_free(path: &Path, force: bool) -> Result<(), String> {
    if path.file_name().is_none() || path.is_dir() {
        return Err(failed(path, &io::ErrorKind::IsADirectory.into()));
    }
    if force || path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(format!("{} exists; use --force to replace it, or --output to write another file", path.display()))
}

/// Whether the download can never be resumed from here.
fn is_permanent(error: &ClientError) -> bool {
    match error {
        ClientError::CannotResume(_) => true,
        ClientError::Refused { reason, .. } => {
            ["RESUME_TOKEN_EXPIRED", "REPORT_PURGED", "INVALID_ARGUMENT"].contains(&reason.as_str())
        }
        _ => false,
    }
}
