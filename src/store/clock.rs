//! The publication clock: moments that reports can be fixed to.
//!
//! A publisher takes the publish lock, moves the clock on, and commits. So whoever has read the clock knows that nothing
//! will ever appear at or before what it showed: that is a [`SnapshotTime`].

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::{Error, Transaction};

use super::{
    ClockError, Store, StoreError,
    locks::{self, Holder},
};
use crate::{database::Statements, model::UtcTime};

/// A publication clock that is further ahead of the present was set by a clock that was wrong. A summer time that somebody
/// takes for UTC is within it.
const MAX_AHEAD: TimeDelta = TimeDelta::days(1);

/// How long a report waits for a publisher. One that does nothing is ended sooner.
const PUBLISHER_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// A moment such that the set of what was published until then is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTime(UtcTime);

/// Whether a report can be fixed to a moment that a caller named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// It can.
    Final(SnapshotTime),
    /// The moment is yet to come.
    Future,
    /// This is a standby, which may not know yet all that was published until then.
    NotReplicated,
}

impl SnapshotTime {
    /// Of a moment that something was published at, or that a statement has as its horizon.
    pub(super) fn published(moment: UtcTime) -> Self {
        Self(moment)
    }

    pub fn time(self) -> UtcTime {
        self.0
    }
}

impl Store {
    /// The newest snapshot: everything that is published now.
    pub async fn snapshot(&self) -> Result<SnapshotTime, StoreError> {
        let client = self.short().await?;
        let statement = "-- snapshot\nSELECT last_published_at FROM publication_clock";
        let row = client.fetch_one(statement, &[]).await?;
        Ok(SnapshotTime(UtcTime::from_chrono(row.try_get("last_published_at")?)))
    }

    /// When the newest load was published.
    pub async fn newest_load(&self) -> Result<Option<UtcTime>, StoreError> {
        let client = self.health().await?;
        // Imports that run side by side may draw their numbers in another order than they publish in.
        let statement = "-- newest_load
            SELECT max(published_at) AS published_at
            FROM (SELECT published_at FROM usage_import ORDER BY import_id DESC LIMIT 20) AS newest";
        let row = client.fetch_one(statement, &[]).await?;
        Ok(row.try_get::<_, Option<_>>("published_at")?.map(UtcTime::from_chrono))
    }

    /// What the time is, by the clock of the database.
    pub async fn present(&self) -> Result<UtcTime, StoreError> {
        let client = self.short().await?;
        let row = client.fetch_one("-- database_time\nSELECT clock_timestamp() AS now", &[]).await?;
        Ok(UtcTime::from_chrono(row.try_get("now")?))
    }

    /// The snapshot at a moment of the past.
    pub async fn snapshot_as_of(&self, as_of: UtcTime) -> Result<AsOf, StoreError> {
        let client = self.short().await?;
        let statement = "-- clocks\nSELECT last_published_at, clock_timestamp() AS now FROM publication_clock";
        let row = client.fetch_one(statement, &[]).await?;
        let newest: DateTime<Utc> = row.try_get("last_published_at")?;
        // Once it is brought back, more may be published before that moment.
        check_ahead(newest, row.try_get("now")?)?;
        if as_of.as_chrono() <= newest {
            return Ok(AsOf::Final(SnapshotTime(as_of)));
        }
        let statement = "-- present\nSELECT clock_timestamp() AS now, pg_is_in_recovery() AS standby";
        let row = client.fetch_one(statement, &[]).await?;
        if as_of > UtcTime::from_chrono(row.try_get("now")?) {
            return Ok(AsOf::Future);
        }
        // Locks of the primary are not seen on a standby, so there the wait proves nothing.
        if row.try_get("standby")? {
            return Ok(AsOf::NotReplicated);
        }
        // Who publishes later draws a later time. Only who publishes now may have drawn an earlier one: asked after the
        // present was read, so that nobody has drawn it between the two.
        let publisher = Holder::of_publishing(&client).await?;
        drop(client);
        if let Some(publisher) = publisher {
            self.wait_for(publisher).await?;
        }
        Ok(AsOf::Final(SnapshotTime(as_of)))
    }

    /// Waits for the end of a publication, without holding a connection.
    async fn wait_for(&self, publisher: Holder) -> Result<(), StoreError> {
        let began = Instant::now();
        let (mut pause, mut said) = (FIRST_PAUSE, false);
        while began.elapsed() < PUBLISHER_LIMIT {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
            let present = Holder::of_publishing(&self.short().await?).await?;
            if !present.is_some_and(|present| present.is(&publisher)) {
                return Ok(());
            }
            if !said && began.elapsed() > locks::PATIENCE {
                tracing::warn!("a report as of the present waits for {publisher} to publish");
                said = true;
            }
        }
        Err(StoreError::unavailable(format!("{publisher} has been publishing for too long")))
    }
}

/// When the newest publication took place.
pub(super) async fn last_published(client: &impl Statements<Error = Error>) -> Result<DateTime<Utc>, StoreError> {
    let statement = "-- last_published\nSELECT last_published_at FROM publication_clock";
    Ok(client.fetch_one(statement, &[]).await?.try_get("last_published_at")?)
}

/// Makes sure that this machine, the database and the publication clock agree on the time, as far as they must.
pub(super) async fn check(client: &impl Statements<Error = Error>, max_skew: Duration) -> Result<(), StoreError> {
    let statement = "-- check_clock\nSELECT clock_timestamp() AS now, last_published_at FROM publication_clock";
    let asked = Utc::now();
    let row = client.fetch_one(statement, &[]).await?;
    let answered = Utc::now();
    let (database, last_published_at): (DateTime<Utc>, DateTime<Utc>) =
        (row.try_get("now")?, row.try_get("last_published_at")?);
    // The database read its clock somewhere between the two.
    let skew = (asked - database).max(database - answered);
    if skew > TimeDelta::from_std(max_skew).unwrap_or(TimeDelta::MAX) {
        let (here, database) = (UtcTime::from_chrono(answered), UtcTime::from_chrono(database));
        return Err(ClockError::Skew { here, database, allowed: max_skew.as_secs() }.into());
    }
    Ok(check_ahead(last_published_at, database)?)
}

fn check_ahead(last_published_at: DateTime<Utc>, database: DateTime<Utc>) -> Result<(), ClockError> {
    if last_published_at - database > MAX_AHEAD {
        let (last_published_at, database) = (UtcTime::from_chrono(last_published_at), UtcTime::from_chrono(database));
        return Err(ClockError::Ahead { last_published_at, database });
    }
    Ok(())
}

/// Moves the clock on, if the clocks agree. The caller holds the publish lock and commits soon.
pub(super) async fn tick(transaction: &Transaction<'_>, max_skew: Duration) -> Result<UtcTime, StoreError> {
    check(transaction, max_skew).await?;
    let row = transaction.fetch_one("-- tick\nSELECT tick_publication_clock() AS last_published_at", &[]).await?;
    Ok(UtcTime::from_chrono(row.try_get("last_published_at")?))
}
