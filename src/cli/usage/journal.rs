//! How far the download of several reports is: a line of JSON with its plan, and one for each report that is complete.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{plan::Plan, transfer::failed};
use crate::{
    cli::{
        CommandError, output,
        partial::{create, lock, open, open_own, remove, sync_folder},
    },
    contract::proto::{MissingDays, ReportHeader},
    model::printable,
};

const NAME: &str = "manifest.part.jsonl";
/// The version of its form.
const VERSION: u32 = 1;

/// No other process has it open meanwhile.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<P> {
    version: u32,
    plan: P,
}

/// A report that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// Its position in the plan.
    pub(super) report: usize,
    pub(super) revision: String,
    pub(super) data_as_of: Option<String>,
    pub(super) row_count: u64,
    pub(super) missing_days: Vec<Missing>,
    /// `None`: it has no rows, and so no file.
    pub(super) content: Option<Content>,
}

/// Days that a source has not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    pub(super) source: String,
    pub(super) days: Vec<String>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    pub(super) bytes: u64,
    /// In hexadecimal digits.
    pub(super) sha256: String,
}

// === impl Journal ===

impl Journal {
    pub(super) fn exists(folder: &Path) -> bool {
        folder.join(NAME).symlink_metadata().is_ok()
    }

    /// Begins a new one, in the place of an earlier one.
    pub(super) fn create(folder: &Path, plan: &Plan) -> Result<Self, CommandError> {
        let path = folder.join(NAME);
        // Held until there is a new one, so that no other download begins meanwhile.
        let earlier = open(&path, false)?;
        let file = match earlier {
            Some(_) => create(&path),
            None => File::options().read(true).write(true).create_new(true).open(&path),
        };
        let file = file.map_err(|error| failed(&path, &error))?;
        lock(&file, &path)?;
        drop(earlier);
        let mut journal = Self { path, file };
        journal.add_line(&Head { version: VERSION, plan })?;
        sync_folder(&journal.path)?;
        Ok(journal)
    }

    /// Opens that of an earlier download; `None` if there is none.
    pub(super) fn reopen(folder: &Path) -> Result<Option<(Self, Plan, Vec<Done>)>, CommandError> {
        let path = folder.join(NAME);
        let Some(mut file) = open(&path, true)? else { return Ok(None) };
        let damaged = |what: &dyn std::fmt::Display| {
            format!("{}: {what}; run the command with --force instead of --resume to start again", path.display())
        };
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        let mut bytes = read_line(&mut lines, &mut line)?;
        let head: Head<Plan> = serde_json::from_slice(&line).map_err(|error| damaged(&error))?;
        if head.version != VERSION {
            return Err(damaged(&format_args!("another version of this program began the download")).into());
        }
        let mut done = Vec::new();
        loop {
            let length = read_line(&mut lines, &mut line)?;
            // What a crash has left of the last line counts for nothing.
            let Ok(one) = serde_json::from_slice::<Done>(&line) else { break };
            if one.report >= head.plan.reports.len() {
                return Err(damaged(&"it has a report that is not in its plan").into());
            }
            bytes += length;
            done.push(one);
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Some((Self { path, file }, head.plan, done)))
    }

    /// Adds a report. It lasts when this returns.
    pub(super) fn add(&mut self, done: &Done) -> Result<(), CommandError> {
        self.add_line(done)
    }

    fn add_line(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(|error| failed(&self.path, &error).into())
    }

    pub(super) fn remove(self) -> io::Result<()> {
        remove(&self.path)?;
        sync_folder(&self.path)
    }
}

/// Reads a line; empty if its end is missing. Returns its length.
fn read_line(lines: &mut BufReader<&File>, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    lines.read_until(b'\n', line)?;
    if line.pop() != Some(b'\n') {
        line.clear();
        return Ok(0);
    }
    Ok(line.len() as u64 + 1)
}

// === impl Missing ===

impl Missing {
    pub(super) fn of(header: &ReportHeader) -> Vec<Self> {
        let missing = |missing: &MissingDays| Self { source: missing.source.clone(), days: missing.days.clone() };
        header.missing_days.iter().map(missing).collect()
    }

    /// Says what is still to come, perhaps.
    pub(super) fn note(missing: &[Self], tenant_name: &str) {
        for Self { source, days } in missing {
            output::note(&format!(
                "warning: {} has not delivered {} for {}",
                printable(source),
                output::days(days),
                printable(tenant_name)
            ));
        }
    }
}

// === impl Content ===

impl Content {
    /// Of a file of this account; `None` if there is none.
    pub(super) fn of(path: &Path) -> Result<Option<Self>, CommandError> {
        let Some(mut file) = open_own(path, false)? else { return Ok(None) };
        let mut digest = Sha256::new();
        let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
        loop {
            let read = file.read(&mut buffer).map_err(|error| failed(path, &error))?;
            if read == 0 {
                break;
            }
            digest.update(&buffer[..read]);
            bytes += read as u64;
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Self { bytes, sha256 }))
    }
}
