//! `statement verify`: everything that a statement says, recomputed from the customer's own files, without a server.

mod detail;
mod lines;

use std::{collections::BTreeMap, fs, path::Path};

use bigdecimal::BigDecimal;
use serde::Deserialize;

use super::document::Document;
use crate::{
    cli::{CommandError, args::StatementVerifyArgs, output::say},
    model::{Month, TenantId},
    statement::{Line, PublicKey},
};
use detail::Detail;

/// A JSON Web Key Set (RFC 7517), as far as it has keys for Ed25519 (RFC 8037).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    crv: Option<String>,
    x: Option<String>,
}

pub(super) fn run(args: &StatementVerifyArgs) -> Result<(), CommandError> {
    let document = read(&args.statement)?;
    let fails = |problem: String| format!("{}: {problem}", args.statement.display());
    let head = &document.statement;
    document.check_digests().map_err(fails)?;
    let key_id = check_signature(&document, &args.key).map_err(fails)?;
    say!("{}: digest {}, signed with key {key_id}", head.number, document.digest)?;
    lines::check(&document).map_err(fails)?;
    say!(
        "{} lines and {} adjustments come to {} {}",
        head.line_count,
        head.adjustment_count,
        head.total.to_plain_string(),
        head.currency
    )?;
    check_details(&document, args)
}

fn read(path: &Path) -> Result<Document, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&format!("not a statement: {error}")))
}

/// Returns the key's id.
fn check_signature(document: &Document, keys: &Path) -> Result<String, String> {
    let signature = document.signature()?.ok_or("it is not signed")?;
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", keys.display());
    let text = fs::read_to_string(keys).map_err(|error| failed(&error))?;
    let set: KeySet =
        serde_json::from_str(&text).map_err(|error| failed(&format!("not a JSON Web Key Set: {error}")))?;
    let ed25519 = set.keys.iter().filter(|key| key.crv.as_deref() == Some("Ed25519"));
    let mut public = ed25519.filter_map(|key| PublicKey::from_x(key.x.as_deref()?));
    let key = public.find(|key| key.id() == signature.key_id);
    let key = key.ok_or_else(|| failed(&format!("it does not have the key {}", signature.key_id)))?;
    if key.verifies(&document.statement.digest(), &signature.bytes) {
        return Ok(signature.key_id);
    }
    Err("the signature is not of this statement".to_owned())
}

/// What the lines of a report come to, by meter and region.
type Sums = BTreeMap<(String, String), (BigDecimal, BigDecimal, i64)>;

/// Holds the lines of each report against its detailed usage.
fn check_details(document: &Document, args: &StatementVerifyArgs) -> Result<(), CommandError> {
    let fails = |problem: String| format!("{}: {problem}", args.statement.display());
    let mut open = reports(document);
    for path in &args.details {
        let detail = Detail::read(path, &document.loads)?;
        let Some(detail) = detail else {
            say!("{}: has no rows", path.display())?;
            continue;
        };
        let key = (detail.month, detail.tenant);
        let Some(report) = open.remove(&key) else {
            return Err(format!(
                "{}: the statement has nothing of tenant {} in {}, or another file has it",
                path.display(),
                detail.tenant,
                detail.month
            )
            .into());
        };
        if detail.revision != report.revision {
            return Err(format!(
                "{}: it is not the usage that was billed: its revision is another one",
                path.display()
            )
            .into());
        }
        for line in &report.lines {
            detail.check_line(line, report.adjusted).map_err(fails)?;
        }
        if report.is_whole {
            detail.check_whole(&report.lines).map_err(fails)?;
        }
        say!("{}: {} rows add up to {} lines", path.display(), detail.row_count, report.lines.len())?;
    }
    for ((month, tenant), report) in &open {
        say!(
            "not checked, for want of their detailed usage: {} lines of tenant {tenant} in {month}",
            report.lines.len()
        )?;
    }
    Ok(())
}

/// What a statement says of a tenant's month.
struct Checked<'a> {
    revision: [u8; 32],
    lines: Vec<&'a Line>,
    /// How messages name the lines.
    adjusted: &'static str,
    /// Whether it has all lines of the month.
    is_whole: bool,
}

fn reports(document: &Document) -> BTreeMap<(Month, TenantId), Checked<'_>> {
    let month = document.statement.billing_month;
    let mut reports = BTreeMap::new();
    for report in &document.reports {
        let checked = Checked { revision: report.revision, lines: Vec::new(), adjusted: "line", is_whole: true };
        reports.insert((month, report.tenant_id), checked);
    }
    for line in &document.lines {
        if let Some(checked) = reports.get_mut(&(month, line.tenant_id)) {
            checked.lines.push(line);
        }
    }
    for adjustment in &document.adjustments {
        let line = &adjustment.line;
        let checked = reports.entry((adjustment.usage_month, line.tenant_id)).or_insert_with(|| Checked {
            revision: adjustment.revision,
            lines: Vec::new(),
            adjusted: "adjustment",
            is_whole: false,
        });
        checked.lines.push(line);
    }
    reports
}
