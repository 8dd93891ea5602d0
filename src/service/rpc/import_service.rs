//! `UsageImportService`: what the `import` command does, for back ends.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, NaiveDate, SecondsFormat};
use prost_types::Timestamp;
use tonic::{Request, Response, Status, Streaming};

use super::parse::{WithdrawRequest, source};
use crate::{
    auth::Role,
    contract::proto::{self, usage_import_service_server::UsageImportService},
    ingest::{Delivery, Import, ImportError, ImportReport, Intake, LoadOutcome, LoadReport, WarningKind},
    model::{AssetType, BillingRegion, Month, Platform, TenantId},
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
        let times = [("start", record.start), ("end", record.end), ("trialExpiry", record.trial_expiry)];
        let times = times.map(|(column, time)| (column, time.filter(|time| !has_nanos(time))));
        let mut broken = times.into_iter().filter_map(|(column, time)| Some((column, time?))).peekable();
        let has_broken = broken.peek().is_some();
        for (column, time) in broken {
            intake.refuse(number, column, &time.nanos.to_string(), &"nanos must be from 0 to 999999999");
        }
        if has_broken {
            continue;
        }
        let texts = Texts::from(record);
        intake.add(number, &texts.raw(record))?;
    }
    Ok(intake)
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

/// A record's values that are no texts in the message, as the texts that the check reads: one check serves all.
struct Texts {
    asset_type: String,
    start: String,
    end: String,
    billing_region: String,
    platform: String,
    trial_expiry: String,
}

impl From<&proto::UsageRecord> for Texts {
    fn from(record: &proto::UsageRecord) -> Self {
        Self {
            asset_type: name(record.asset_type, AssetType::from_code, AssetType::as_str),
            start: time(record.start.as_ref()),
            end: time(record.end.as_ref()),
            billing_region: name(record.billing_region, BillingRegion::from_code, BillingRegion::as_str),
            platform: name(record.platform, Platform::from_code, Platform::as_str),
            trial_expiry: time(record.trial_expiry.as_ref()),
        }
    }
}

impl Texts {
    /// All fields, in the report's order.
    fn raw<'a>(&'a self, record: &'a proto::UsageRecord) -> crate::ingest::RawRecord<'a> {
        [
            &record.organization_id,
            &record.tenant_id,
            &record.asset_name,
            &record.asset_id,
            &self.asset_type,
            &record.meter_name,
            &record.meter_id,
            &self.start,
            &self.end,
            &record.quantity,
            &self.billing_region,
            &self.platform,
            if record.trial { "TRUE" } else { "FALSE" },
            &self.trial_expiry,
        ]
    }
}

/// 0 is unset; a number that stands for nothing is shown as it is, for the error.
fn name<T>(code: i32, from_code: impl Fn(i32) -> Option<T>, as_str: impl Fn(T) -> &'static str) -> String {
    match from_code(code) {
        Some(value) => as_str(value).to_owned(),
        None if code == 0 => String::new(),
        None => code.to_string(),
    }
}

/// With all of its digits, so that the check finds what is wrong with them.
fn time(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    let moment = u32::try_from(time.nanos).ok().and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos));
    match moment {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        // Some hundred thousand years away.
        None => format!("{}-01-01T00:00:00Z", time.seconds),
    }
}

/// Whether it is a moment as protobuf has it.
fn has_nanos(time: &Timestamp) -> bool {
    (0..1_000_000_000).contains(&time.nanos)
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
                WarningKind::ExpiredTrial => "TRIAL_EXPIRED",
                WarningKind::NormalForm => "ASSET_IDS_ALIKE",
            }
            .to_owned(),
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
