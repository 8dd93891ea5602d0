//! Publishing: a transaction that writes records, without the publish lock; then, under it, one that publishes their loads.

use std::time::Duration;

use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::{
    copy::copy_records,
    in_force::{InForce, Sources, in_force},
    insert::{ChangedLoad, ensure_months, have_months, insert_import, insert_loads},
    months::{MonthChanges, add_months},
    months_before::{MonthBefore, read_months},
    revisions::{LoadsByMonth, Revisions, by_month},
    sums::totals_text,
    unpublished::{Unpublished, sweep_tenants},
};
use crate::{
    database::{DatabaseError, Scripts as _},
    model::UtcTime,
    store::{
        ImportSession, Layout, LoadInForce, LoadKey, NewLoad, Preconditions, RecordToWrite, StoreError, clock, locks,
    },
    telemetry::traces,
};

/// How often a transaction that waits says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What a publication did.
#[derive(Debug)]
pub struct Publication {
    /// When; `None` where nothing had to be published after all.
    pub published_at: Option<UtcTime>,
    /// What became of each load, in the order given.
    pub loads: Vec<PublishedLoad>,
    /// What was in force before.
    pub before: InForce,
}

/// What became of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedLoad {
    /// It is the first of its day and source.
    First,
    /// It superseded another one.
    Superseded(LoadInForce),
    /// Another import has published the same content meanwhile, so it was left out.
    Unchanged,
}

impl ImportSession {
    /// Publishes loads whose records arrive in batches, sorted by load and row number. All of it, or nothing: when the
    /// channel ends before every record has come, nothing is published.
    pub async fn publish(
        &mut self,
        loads: &[NewLoad],
        preconditions: &Preconditions,
        records: mpsc::Receiver<Vec<RecordToWrite>>,
        file_name: &str,
        imported_by: &str,
        written: impl Fn(u64),
    ) -> Result<Publication, StoreError> {
        self.is_busy = true;
        let published = self.publish_all(loads, preconditions, records, (file_name, imported_by), written).await;
        if matches!(published, Err(StoreError::Database(_))) {
            // The others may lead to the same place, one that takes no imports any more, say.
            self.store.idle_imports.clear();
        }
        published
    }

    async fn publish_all(
        &mut self,
        loads: &[NewLoad],
        preconditions: &Preconditions,
        records: mpsc::Receiver<Vec<RecordToWrite>>,
        (file_name, imported_by): (&str, &str),
        written: impl Fn(u64),
    ) -> Result<Publication, StoreError> {
        let ensured = ensure_months(&self.connections.lookups, loads).await;
        ensured.map_err(|error| of_machines(self.layout, "there is no room for a month of it yet", error))?;
        let months = by_month(loads);
        let (store, source) = (self.store.clone(), self.source.clone());
        let ahead = async { Ok(Revisions::ahead(&store, &source, &months).await) };
        let (unpublished, ahead) = tokio::try_join!(self.write_records(loads, records, written), ahead)?;
        let revisions = (&months, &ahead);
        let published = self.publish_loads(loads, &unpublished, revisions, preconditions, file_name, imported_by).await;
        // Another connection, since this one may be why it failed.
        if published.as_ref().map_or(true, Publication::left_some_out) {
            unpublished.discard(&self.connections.lookups).await;
        }
        if published.is_ok() {
            // Where it is gone, so are its locks.
            if locks::release_all(&self.connections.publisher).await.is_ok() {
                sweep_tenants(&mut self.connections.publisher, loads).await;
                self.is_busy = false;
            }
        }
        published
    }

    /// Commits records, which are in no report yet.
    async fn write_records(
        &mut self,
        loads: &[NewLoad],
        records: mpsc::Receiver<Vec<RecordToWrite>>,
        written: impl Fn(u64),
    ) -> Result<Unpublished, StoreError> {
        let lookups = &self.connections.lookups;
        let transaction = self.connections.publisher.transaction().await?;
        locks::share_assets(&transaction, lookups).await?;
        // From here on, nobody spreads records.
        self.layout = Layout::of(lookups).await?;
        let unpublished = Unpublished::begin(&transaction, self.layout, loads).await?;
        let copy = copy_records(&transaction, (lookups, self.layout), loads, &unpublished.load_ids, records, written);
        let count = match step("copy_blocks", copy).await {
            Ok(count) => count,
            // A worker says so without its code.
            Err(_) if self.layout == Layout::Apart && !have_months(lookups, loads).await? => {
                return Err(StoreError::MONTH_PURGED);
            }
            Err(error) => return Err(of_machines(self.layout, "its records were not written", error)),
        };
        let expected: u64 = loads.iter().map(|load| u64::try_from(load.record_count).unwrap_or(0)).sum();
        if count != expected {
            let what = format!("only {count} of {expected} records arrived; nothing was published");
            return Err(DatabaseError::Failed(what).into());
        }
        let committed = step("commit_blocks", async { Ok(transaction.commit().await?) }).await;
        committed.map_err(|error| of_machines(self.layout, "its records were not committed", error))?;
        if self.layout == Layout::Apart {
            let are_visible = unpublished.wait_until_visible(&self.connections.lookups, loads).await;
            are_visible.map_err(|error| of_machines(self.layout, "its records cannot be read yet", error))?;
        }
        Ok(unpublished)
    }

    async fn publish_loads(
        &mut self,
        loads: &[NewLoad],
        unpublished: &Unpublished,
        (by_month, revisions): (&LoadsByMonth<'_>, &Revisions),
        preconditions: &Preconditions,
        file_name: &str,
        imported_by: &str,
    ) -> Result<Publication, StoreError> {
        let totals: Vec<String> = loads.iter().map(|load| totals_text(&load.totals)).collect();
        let keys: Vec<LoadKey> = loads.iter().map(|load| load.key).collect();
        let transaction = self.connections.publisher.transaction().await?;
        locks::lock_publishing(&transaction, &self.connections.lookups).await?;
        // From here on neither loads nor the catalog change.
        let (send, mut months) = mpsc::channel::<Vec<MonthBefore>>(2);
        let write = async {
            let last_published_at = clock::last_published(&transaction).await?;
            let check = preconditions.check(&transaction, &self.source);
            let before = async {
                if preconditions.nothing_published_since(last_published_at) {
                    return Ok(preconditions.seen.clone());
                }
                in_force(&transaction, &self.source, &keys, Sources::All).await
            };
            let ((), before) = tokio::try_join!(step("check_preconditions", check), before)?;
            let outcomes: Vec<PublishedLoad> = loads.iter().map(|load| PublishedLoad::of(load, &before)).collect();
            let (mut changed, mut left_out) = (Vec::new(), Vec::new());
            for (((load, &id), totals), outcome) in loads.iter().zip(&unpublished.load_ids).zip(&totals).zip(&outcomes)
            {
                if *outcome == PublishedLoad::Unchanged {
                    left_out.push((load, id));
                    continue;
                }
                let superseded = if let PublishedLoad::Superseded(present) = outcome { Some(present.id) } else { None };
                changed.push(ChangedLoad { id, load, totals, superseded });
            }
            if changed.is_empty() {
                months.close();
                return Ok(Publication { published_at: None, loads: outcomes, before });
            }
            let changes = MonthChanges::read(&transaction, &changed, last_published_at).await?;
            let published_at = clock::tick(&transaction, self.store.max_clock_skew).await?;
            let source = self.source.as_str();
            let import_id = insert_import(&transaction, source, file_name, imported_by, published_at).await?;
            insert_loads(&transaction, &changed, source, import_id, published_at).await?;
            loop {
                match tokio::time::timeout(SIGN_OF_LIFE, months.recv()).await {
                    Ok(Some(months)) => add_months(&transaction, &changes.apply(&months)?, published_at).await?,
                    Ok(None) => break,
                    // What does nothing under the lock is ended.
                    Err(_) => transaction.run_script("-- publish: still here\nSELECT").await?,
                }
            }
            unpublished.publish(&transaction, &left_out).await?;
            Ok(Publication { published_at: Some(published_at), loads: outcomes, before })
        };
        let read = read_months(&self.connections.lookups, &self.source, by_month, revisions, send);
        let ((), publication) = tokio::try_join!(read, write)?;
        // Else rolling back is all that is left to do.
        if publication.published_at.is_some() {
            step("commit", async { Ok(transaction.commit().await?) }).await?;
        }
        Ok(publication)
    }
}

// === impl Publication ===

impl Publication {
    /// Whether records of it belong to no load.
    fn left_some_out(&self) -> bool {
        self.loads.contains(&PublishedLoad::Unchanged)
    }
}

// === impl PublishedLoad ===

impl PublishedLoad {
    /// What becomes of a load.
    pub fn of(load: &NewLoad, in_force: &InForce) -> Self {
        match in_force.own(load.key) {
            None => Self::First,
            Some(present) if present.has(&load.digest) => Self::Unchanged,
            Some(present) => Self::Superseded(present.clone()),
        }
    }
}

/// What another machine, or the way to it, fails with has no code of its own. It may be away, or move records to another one.
fn of_machines(layout: Layout, what: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Database(DatabaseError::Failed(error)) if layout == Layout::Apart => {
            StoreError::unavailable(format!("{what}: {error}"))
        }
        _ => error,
    }
}

/// A part of the publication, as a span of its own in traces.
async fn step<T>(name: &str, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    work.instrument(traces::statement(&format!("-- {name}"))).await
}
