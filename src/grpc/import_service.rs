//! `UsageImportService`: what the `import` command does, for back ends.

use std::{sync::Arc, time::Duration};

use chrono::NaiveDate;
use prost_types::Timestamp;
use tonic::{Request, Response, Status, Streaming};

use super::{audit::Notes, caller::Caller, status::importer_stalled};
use crate::{
    auth::Role,
    import::{Import, ImportError, ImportReport, Intake, LoadOutcome},
    metrics::Metrics,
    model::{AssetType, BillingRegion, Month, Platform, Source, TenantId, UtcTime},
    proto::{self, usage_import_service_server::UsageImportService},
    report::InvalidField,
    store::{Store, StoreConfig},
};

/// Imports usage into a database.
#[derive(Clone)]
pub struct ImportService {
    store: Store,
    config: StoreConfig,
    /// How long a caller may take between two messages.
    idle_limit: Duration,
    metrics: Arc<Metrics>,
}

// === impl ImportService ===

impl ImportService {
    /// Imports into this database. A caller may take so long between two messages.
    pub fn new(store: Store, config: StoreConfig, idle_limit: Duration, metrics: Arc<Metrics>) -> Self {
        Self { store, config, idle_limit, metrics }
    }

    async fn next_message(
        &self,
        messages: &mut Streaming<proto::ImportUsageRequest>,
    ) -> Result<Option<proto::ImportUsageRequest>, Status> {
        let next = tokio::time::timeout(self.idle_limit, messages.message()).await;
        next.map_err(|_| importer_stalled(self.idle_limit))?
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
        let import = Import::new(&self.store, self.config.clone(), &caller.principal, source.clone()).await?;
        let mut intake = import.intake("record");
        let mut next = Some(first);
        let mut number = 0_u64;
        while let Some(message) = next {
            if !message.source.is_empty() && message.source != source.as_str() {
                let reason = format!("the stream began with {source}; one stream has one source");
                return Err(InvalidField::new("source", reason).into());
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
        let report = import.publish(prepared, "ImportUsage", false).await?;
        for load in &report.loads {
            let outcome = match load.outcome {
                LoadOutcome::Published => "published",
                LoadOutcome::Restated(_) => "restated",
                LoadOutcome::Unchanged => "unchanged",
            };
            self.metrics.loads_imported(outcome, 1);
        }
        Ok(Response::new(report.into()))
    }
}

fn take_in(mut intake: Intake, first: u64, records: &[proto::UsageRecord]) -> std::io::Result<Intake> {
    for (record, number) in records.iter().zip(first..) {
        let texts = Texts::from(record);
        intake.add(number, &texts.raw(record))?;
    }
    Ok(intake)
}

/// Whose usage it is, and of which months. An import may be of many tenants, and the first stands for them.
fn note_loads(notes: &Notes, loads: impl Iterator<Item = (TenantId, NaiveDate)>) {
    let loads: Vec<_> = loads.collect();
    let Some(&(tenant, _)) = loads.first() else { return };
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
}

fn sorting(error: std::io::Error) -> ImportError {
    ImportError::Io { place: "sorting".to_owned(), error }
}

fn source(text: &str) -> Result<Source, InvalidField> {
    if text.is_empty() {
        return Ok(Source::default());
    }
    text.parse().map_err(|error| InvalidField::new("source", error))
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
    fn raw<'a>(&'a self, record: &'a proto::UsageRecord) -> crate::import::RawRecord<'a> {
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

fn time(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    match UtcTime::from_unix(time.seconds, time.nanos) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{} s and {} ns", time.seconds, time.nanos),
    }
}

impl From<ImportReport> for proto::ImportUsageResponse {
    fn from(report: ImportReport) -> Self {
        let loads = report.loads.iter().map(|load| {
            let (outcome, superseded_record_count) = match &load.outcome {
                LoadOutcome::Published => (proto::LoadOutcome::Published, 0),
                LoadOutcome::Restated(restatement) => {
                    (proto::LoadOutcome::Restated, restatement.superseded_record_count.into())
                }
                LoadOutcome::Unchanged => (proto::LoadOutcome::Unchanged, 0),
            };
            proto::ImportedLoad {
                tenant_id: load.tenant_id.to_string(),
                usage_day: load.usage_day.to_string(),
                outcome: outcome.into(),
                record_count: load.record_count.into(),
                superseded_record_count,
                digest: load.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            }
        });
        Self {
            loads: loads.collect(),
            record_count: report.record_count.cast_signed(),
            published_at: report.published_at.map(Into::into),
        }
    }
}
