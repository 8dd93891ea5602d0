//! `ImportUsage`.

use std::time::Duration;

use chrono::NaiveDate;
use tonic::{Request, Status, Streaming};

use super::{parse::source, records::take_in, services::ImportService};
use crate::{
    contract::{Reason, proto},
    ingest::{Delivery, ImportError, ImportReport, LoadOutcome, LoadReport, WarningKind},
    model::{Month, Source, TenantId, hex},
    reports::InvalidField,
    service::{
        layers::{Caller, Notes},
        status::{import_too_long, importer_stalled},
    },
};

/// How many loads an answer lists.
const MAX_LOADS: usize = 10_000;
/// How many withdrawn days the audit log names; the database has all of them.
const MAX_NOTED: usize = 100;

pub(super) async fn handle(
    service: &ImportService,
    request: Request<Streaming<proto::ImportUsageRequest>>,
) -> Result<proto::ImportUsageResponse, Status> {
    let limit = service.bounds.duration;
    let imported = tokio::time::timeout(limit, import(service, request)).await;
    imported.unwrap_or_else(|_| Err(import_too_long(limit)))
}

async fn import(
    service: &ImportService,
    request: Request<Streaming<proto::ImportUsageRequest>>,
) -> Result<proto::ImportUsageResponse, Status> {
    let caller = Caller::of(&request)?;
    let mut messages = request.into_inner();
    let Some(first) = next_message(&mut messages, service.bounds.idle).await? else {
        return Ok(proto::ImportUsageResponse::default());
    };
    let source = source(&first.source)?;
    let is_complete = first.complete;
    let import = service.begin(&caller, source.clone()).await?;
    let mut intake = import.intake();
    let mut next = Some(first);
    let mut number = 0_u64;
    while let Some(message) = next {
        check_agrees(&message, &source, is_complete)?;
        let first = number;
        number += message.records.len() as u64;
        caller.notes.add_rows(message.records.len());
        // Sorting may write to disk.
        let add = tokio::task::spawn_blocking(move || take_in(intake, first, &message.records));
        intake = add.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(ImportError::sorting)?;
        next = next_message(&mut messages, service.bounds.idle).await?;
    }
    let prepared = import.prepare(intake).await?;
    note_loads(&caller.notes, prepared.tenant_days());
    let delivery = Delivery { name: "ImportUsage", is_complete, dry_run: false };
    let report = import.publish(prepared, &delivery).await?;
    note_report(&caller.notes, &report, is_complete);
    service.count(&report);
    Ok(report.into())
}

async fn next_message(
    messages: &mut Streaming<proto::ImportUsageRequest>,
    idle_limit: Duration,
) -> Result<Option<proto::ImportUsageRequest>, Status> {
    let next = tokio::time::timeout(idle_limit, messages.message()).await;
    next.map_err(|_| importer_stalled(idle_limit))?
}

/// Whether a message says of the delivery what the first one said.
fn check_agrees(message: &proto::ImportUsageRequest, source: &Source, is_complete: bool) -> Result<(), InvalidField> {
    if !message.source.is_empty() && message.source != source.as_str() {
        let reason = format!("the stream began with {source}; one stream has one source");
        return Err(InvalidField::new("source", reason));
    }
    if message.complete && !is_complete {
        let reason = "the first message says whether the stream is complete, and it did not";
        return Err(InvalidField::new("complete", reason));
    }
    Ok(())
}

/// What was withdrawn, besides what was sent.
fn note_report(notes: &Notes, report: &ImportReport, is_complete: bool) {
    if !is_complete {
        return;
    }
    let others = note_loads(notes, report.loads.iter().map(|load| (load.tenant_id, load.usage_day)));
    let others = if others > 0 { format!("{others} tenants more; ") } else { String::new() };
    let withdrawn = report.loads.iter().filter(|load| matches!(load.outcome, LoadOutcome::Withdrawn(_)));
    let days: Vec<String> = withdrawn.map(|load| format!("{} on {}", load.tenant_id, load.usage_day)).collect();
    let shown = days.iter().take(MAX_NOTED).cloned().collect::<Vec<_>>().join(", ");
    notes.internal_detail(match days.len() {
        0 => format!("{others}complete; nothing was withdrawn"),
        count if count <= MAX_NOTED => format!("{others}complete; withdrawn: {shown}"),
        count => format!("{others}complete; withdrawn: {shown} and {} more", count - MAX_NOTED),
    });
}

/// Whose usage it is, and of which months. An import may be of many tenants, and the first stands for them.
/// Returns how many it stands for.
pub(super) fn note_loads(notes: &Notes, loads: impl Iterator<Item = (TenantId, NaiveDate)>) -> usize {
    let loads: Vec<_> = loads.collect();
    let Some(&(tenant, _)) = loads.first() else { return 0 };
    notes.tenant(tenant);
    let mut others: Vec<_> = loads.iter().map(|&(other, _)| other).filter(|&other| other != tenant).collect();
    others.dedup();
    if !others.is_empty() {
        notes.internal_detail(format!("{} tenants more", others.len()));
    }
    let months = || loads.iter().filter_map(|&(_, day)| Month::of(day));
    if let (Some(first), Some(last)) = (months().min(), months().max()) {
        notes.months(first, last);
    }
    others.len()
}

impl From<&LoadReport> for proto::ImportedLoad {
    fn from(load: &LoadReport) -> Self {
        let outcome = match &load.outcome {
            LoadOutcome::Published => proto::LoadOutcome::Published,
            LoadOutcome::Restated(_) => proto::LoadOutcome::Restated,
            LoadOutcome::Withdrawn(_) => proto::LoadOutcome::Withdrawn,
            LoadOutcome::Unchanged => proto::LoadOutcome::Unchanged,
        };
        let superseded = load.outcome.restatement().map_or(0, |restatement| restatement.superseded_record_count);
        Self {
            tenant_id: load.tenant_id.to_string(),
            usage_day: load.usage_day.to_string(),
            outcome: outcome.into(),
            record_count: load.record_count.into(),
            superseded_record_count: superseded.into(),
            digest: hex(&load.digest),
            also_from: load.also_from.clone().unwrap_or_default(),
        }
    }
}

impl From<ImportReport> for proto::ImportUsageResponse {
    fn from(report: ImportReport) -> Self {
        let omitted_loads = report.omitted.iter().map(|load| proto::OmittedLoad {
            tenant_id: load.tenant_id.to_string(),
            usage_day: load.usage_day.to_string(),
            record_count: load.record_count.into(),
        });
        let warnings = report.warnings.into_iter().map(|warning| proto::ImportWarning {
            reason: match warning.kind {
                WarningKind::ExpiredTrial => Reason::TrialExpired,
                WarningKind::NormalForm => Reason::AssetIdsAlike,
            }
            .to_string(),
            message: warning.example,
            count: warning.count.cast_signed(),
            first_record: warning.first.1.cast_signed(),
        });
        Self {
            loads: report.loads.iter().take(MAX_LOADS).map(Into::into).collect(),
            load_count: i64::try_from(report.loads.len()).unwrap_or(i64::MAX),
            omitted_load_count: report.omitted_count.cast_signed(),
            record_count: report.record_count.cast_signed(),
            published_at: report.published_at.map(Into::into),
            omitted_loads: omitted_loads.collect(),
            warnings: warnings.collect(),
        }
    }
}
