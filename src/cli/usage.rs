//! `usage`: downloads reports to CSV files, complete or not at all.

mod one;
mod transfer;

use std::{io, path::Path};

use super::{CommandError, args::UsageArgs};
use crate::client::ClientError;
use transfer::failed;

pub(super) async fn run(args: UsageArgs) -> Result<(), CommandError> {
    one::run(args).await
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
