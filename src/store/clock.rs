//! The publication clock: moments that reports can be fixed to.
//!
//! A publisher takes the publish lock, moves the clock on, and commits. So whoever has read the clock knows that nothing
//! will ever appear at or before what it showed: that is a [`SnapshotTime`].

use tokio_postgres::Transaction;

use super::{Store, StoreError, locks};
use crate::{database::Statements as _, model::UtcTime};

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

    /// The snapshot at a moment of the past.
    pub async fn snapshot_as_of(&self, as_of: UtcTime) -> Result<AsOf, StoreError> {
        let newest = self.snapshot().await?;
        if as_of <= newest.0 {
            return Ok(AsOf::Final(SnapshotTime(as_of)));
        }
        // A publisher that comes later draws a later time.
        let client = self.short().await?;
        let row = locks::present_between_publications(&client).await?;
        if as_of > UtcTime::from_chrono(row.try_get("now")?) {
            return Ok(AsOf::Future);
        }
        // Locks of the primary are not seen on a standby, so there the wait proves nothing.
        if row.try_get("standby")? {
            return Ok(AsOf::NotReplicated);
        }
        Ok(AsOf::Final(SnapshotTime(as_of)))
    }
}

/// Moves the clock on. The caller holds the publish lock and commits soon.
pub(super) async fn tick(transaction: &Transaction<'_>) -> Result<UtcTime, StoreError> {
    let row = transaction.fetch_one("-- tick\nSELECT tick_publication_clock() AS last_published_at", &[]).await?;
    Ok(UtcTime::from_chrono(row.try_get("last_published_at")?))
}
