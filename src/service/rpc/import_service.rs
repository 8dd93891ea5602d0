//! `UsageImportService`: what the `import` command does, for back ends.

use std::{sync::Arc, time::Duration};

use chrono::NaiveDate;
use prost_types::Timestamp;
use tonic::{Request, Response, Status, Streaming};

use super::parse::{WithdrawRequest, source};
use crate::{
    auth::Role,
    contract::Reason,
    contract::proto::{self, usage_import_service_server::UsageImportService},
    ingest::{
        Delivery, Import, ImportError, ImportReport, Intake, LoadOutcome, LoadReport, Row, RowReader, WarningKind,
    },
    model::{AssetType, BillingRegion, Column, Month, Platform, TenantId},
    reports::InvalidField,
    service::{
        layers::{Caller, Notes},
        status::importer_stalled,
    },
    store::{Store, StoreConfig},
    telemetry::metrics::Metrics,
};

/// How many loads an answer tells of.
const MAX_LOADS: usize = 10_000;
/// How many withdrawn days the audit log names; the database has all of them.
const MAX_NOTED: usize = 100;

/// Imports usage into a database.
#[derive(Clone)]
pub(in crate::service) struct ImportService {
    store: Store,
    config: StoreConfig,
    /// How long a caller may take between two messages.
    idle_limit: Duration,
    metrics: Arc<Metrics>,
}

// === impl ImportService ===

impl ImportService {
    /// Imports into this database. A caller may take so long between two messages.
    pub(in crate::service) fn new(
        store: Store,
        config: StoreConfig,
        idle_limit: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { store, config, idle_limit, metrics }
    }

    async fn next_message(
        &self,
        messages: &mut Streaming<proto::ImportUsageRequest>,
    ) -> Result<Option<proto::ImportUsageRequest>, Status> {
        let next = tokio::time::timeout(self.idle_limit, messages.message()).await;
        next.map_err(|_| importer_stalled(self.idle_limit))?
    }

    fn count(&self, report: &ImportReport) {
        for load in &report.loads {
            self.metrics.loads_imported(load.outcome.name(), 1);
        }
    }
}

#[tonic::async_trait]
impl UsageImportService for ImportService {
    async fn import_usage(
        &self,
        request: Request<Streaming<proto::ImportUsageRequest>>,
    ) -> Result<Response<proto::ImportUsageResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.scope_as(Role::UsageImport)?;
        let mut messages = request.into_inner();
        let Some(first) = self.next_message(&mut messages).await? else {
            return Ok(Response::new(proto::ImportUsageResponse::default()));
        };
        let source = source(&first.source)?;
        let is_complete = first.complete;
        let import = Import::new(&self.store, self.config.clone(), &caller.principal, source.clone()).await?;
        let mut intake = import.intake();
        let mut next = Some(first);
        let mut number = 0_u64;
        while let Some(message) = next {
            if !message.source.is_empty() && message.source != source.as_str() {
                let reason = format!("the stream began with {source}; one stream has one source");
                return Err(InvalidField::new("source", reason).into());
            }
            if message.complete && !is_complete {
                let reason = "the first message says whether the stream is complete, and it did not";
                return Err(InvalidField::new("complete", reason).into());
            }
            let first = number;
            number += message.records.len() as u64;
            caller.notes.add_rows(message.records.len());
            // Sorting may write to disk.
            let add = tokio::task::spawn_blocking(move || take_in(intake, first, &message.records));
            intake = add.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(sorting)?;
            next = self.next_message(&mut messages).await?;
        }
        let prepared = import.prepare(intake).await?;
        note_loads(&caller.notes, prepared.tenant_days());
        let delivery = Delivery { name: "ImportUsage", is_complete, dry_run: false };
        let report = import.publish(prepared, &delivery).await?;
        note_report(&caller.notes, &report, is_complete);
        self.count(&report);
        Ok(Response::new(report.into()))
    }

    async fn withdraw_usage(
        &self,
        request: Request<proto::WithdrawUsageRequest>,
    ) -> Result<Response<proto::WithdrawUsageResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.scope_as(Role::UsageImport)?;
        let request = WithdrawRequest::try_from(request.into_inner())?;
        note_loads(&caller.notes, std::iter::once((request.tenant_id, request.usage_day)));
        let import = Import::new(&self.store, self.config.clone(), &caller.principal, request.source).await?;
        let delivery = Delivery { name: "WithdrawUsage", is_complete: false, dry_run: false };
        let report = import.withdraw(request.tenant_id, request.usage_day, &delivery).await?;
        self.count(&report);
        Ok(Response::new(proto::WithdrawUsageResponse {
            load: report.loads.first().map(Into::into),
            published_at: report.published_at.map(Into::into),
        }))
    }
}

fn take_in(mut intake: Intake, first: u64, records: &[proto::UsageRecord]) -> std::io::Result<Intake> {
    for (record, number) in records.iter().zip(first..) {
        intake.add(number, |reader| row(record, reader))?;
    }
    Ok(intake)
}

/// A record by the types of its columns.
fn row<'r>(record: &'r proto::UsageRecord, reader: &mut RowReader<'_, 'r>) -> Row<'r> {
    let parts = |time: Option<Timestamp>| time.map(|time| (time.seconds, time.nanos));
    Row {
        organization_id: reader.parse(Column::OrganizationId, &record.organization_id),
        tenant_id: reader.parse(Column::TenantId, &record.tenant_id),
        asset_name: reader.text(Column::AssetName, &record.asset_name),
        asset_id: reader.text(Column::AssetId, &record.asset_id),
        asset_type: reader.code(Column::AssetType, record.asset_type, AssetType::from_code),
        meter_name: reader.text(Column::MeterName, &record.meter_name),
        meter_id: reader.parse(Column::MeterId, &record.meter_id),
        start: reader.time(Column::Start, parts(record.start)),
        end: reader.time(Column::End, parts(record.end)),
        quantity: reader.quantity(&record.quantity),
        billing_region: reader.code(Column::BillingRegion, record.billing_region, BillingRegion::from_code),
        platform: reader.optional_code(Column::Platform, record.platform, Platform::from_code),
        trial: Some(record.trial),
        trial_expiry: reader.optional_time(Column::TrialExpiry, parts(record.trial_expiry)),
    }
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
    notes.truth(match days.len() {
        0 => format!("{others}complete; nothing was withdrawn"),
        count if count <= MAX_NOTED => format!("{others}complete; withdrawn: {shown}"),
        count => format!("{others}complete; withdrawn: {shown} and {} more", count - MAX_NOTED),
    });
}

/// Whose usage it is, and of which months. An import may be of many tenants, and the first stands for them.
/// Returns how many it stands for.
fn note_loads(notes: &Notes, loads: impl Iterator<Item = (TenantId, NaiveDate)>) -> usize {
    let loads: Vec<_> = loads.collect();
    let Some(&(tenant, _)) = loads.first() else { return 0 };
    notes.tenant(tenant);
    let mut others: Vec<_> = loads.iter().map(|&(other, _)| other).filter(|&other| other != tenant).collect();
    others.dedup();
    if !others.is_empty() {
        notes.truth(format!("{} tenants more", others.len()));
    }
    let months = || loads.iter().filter_map(|&(_, day)| Month::of(day));
    if let (Some(first), Some(last)) = (months().min(), months().max()) {
        notes.months(first, last);
    }
    others.len()
}

fn sorting(error: std::io::Error) -> ImportError {
    ImportError::Io { place: "sorting".to_owned(), error }
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
            digest: load.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
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
