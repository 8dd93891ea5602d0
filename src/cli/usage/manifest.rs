//! `manifest.json`: what files there are, and what they hold.

use std::{io::Write as _, path::Path};

use serde::Serialize;

use super::{
    journal::{Done, Missing},
    plan::{Asked, Plan},
    transfer::failed,
};
use crate::cli::{CommandError, partial::PartialFile};

pub(super) const NAME: &str = "manifest.json";
/// The version of its form.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    version: u32,
    as_of: String,
    row_count: u64,
    /// By tenant and month.
    reports: Vec<Entry<'a>>,
    asked: &'a Asked,
}

/// A tenant's month. What has no rows has no file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    organization_id: &'a str,
    tenant_id: String,
    tenant_name: &'a str,
    month: String,
    file: Option<&'a str>,
    row_count: u64,
    bytes: Option<u64>,
    sha256: Option<&'a str>,
    /// `None`: there is no usage.
    revision: Option<&'a str>,
    as_of: String,
    data_as_of: Option<&'a str>,
    missing_days: &'a [Missing],
}

/// Writes the manifest of a plan whose reports are done, as far as they have usage. It gets its name when it is whole.
pub(super) fn write(target: &Path, plan: &Plan, done: &[Option<Done>]) -> Result<(), CommandError> {
    let as_of = plan.as_of.to_string();
    let reports = plan.reports.iter().zip(done).map(|(report, done)| {
        let content = done.as_ref().and_then(|done| done.content.as_ref());
        Entry {
            organization_id: &report.organization_id,
            tenant_id: report.tenant_id.to_string(),
            tenant_name: &report.tenant_name,
            month: report.month.to_string(),
            file: content.map(|_| report.file.as_str()),
            row_count: done.as_ref().map_or(0, |done| done.row_count),
            bytes: content.map(|content| content.bytes),
            sha256: content.map(|content| content.sha256.as_str()),
            revision: report.revision.as_deref(),
            as_of: as_of.clone(),
            data_as_of: done.as_ref().and_then(|done| done.data_as_of.as_deref()),
            missing_days: done.as_ref().map_or(&[], |done| &done.missing_days),
        }
    });
    let manifest = Manifest {
        version: VERSION,
        as_of: as_of.clone(),
        row_count: done.iter().flatten().map(|done| done.row_count).sum(),
        reports: reports.collect(),
        asked: &plan.asked,
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    let mut file = PartialFile::create(target)?;
    file.write_all(&text).map_err(|error| failed(&file.path(), &error))?;
    // Whoever made one meanwhile did not ask us.
    file.finish(false).map_err(|error| failed(target, &error).into())
}
