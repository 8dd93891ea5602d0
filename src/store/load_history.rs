//! All loads of a tenant's month: those in force, and those that were.

use chrono::NaiveDate;
use tokio_postgres::Row;

use super::{SnapshotTime, Store, StoreError, VisibleTenant, columns};
use crate::{
    database::Statements as _,
    model::{Month, UtcTime},
};

/// A load, and what became of it.
#[derive(Clone, Debug)]
pub struct LoadRecord {
    pub usage_day: NaiveDate,
    pub source: String,
    pub published_at: UtcTime,
    /// The account that delivered it.
    pub imported_by: String,
    /// What was delivered: the names of the files.
    pub file_name: String,
    /// 0: the day was withdrawn.
    pub record_count: i32,
    pub digest: [u8; 32],
    /// When another load of the day and source was published.
    pub superseded_at: Option<UtcTime>,
    /// When the load was published that it superseded, and how many records that had.
    pub superseded: Option<(UtcTime, i32)>,
    /// Whether its records are kept no longer.
    pub is_purged: bool,
}

/// Where a load stands in the order of day, source and publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPosition {
    pub usage_day: NaiveDate,
    pub source: String,
    pub published_at: UtcTime,
}

// === impl LoadRecord ===

impl LoadRecord {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let time = |column: &str| -> Result<Option<UtcTime>, StoreError> {
            Ok(row.try_get::<_, Option<_>>(column)?.map(UtcTime::from_chrono))
        };
        let before: Option<i32> = row.try_get("superseded_record_count")?;
        Ok(Self {
            usage_day: row.try_get("usage_day")?,
            source: row.try_get("source")?,
            published_at: UtcTime::from_chrono(row.try_get("published_at")?),
            imported_by: row.try_get("imported_by")?,
            file_name: row.try_get("file_name")?,
            record_count: row.try_get("record_count")?,
            digest: columns::bytes(row, "digest")?,
            superseded_at: time("superseded_at")?,
            superseded: time("superseded_published_at")?.zip(before),
            is_purged: row.try_get("is_purged")?,
        })
    }

    pub fn position(&self) -> LoadPosition {
        LoadPosition { usage_day: self.usage_day, source: self.source.clone(), published_at: self.published_at }
    }
}

impl Store {
    /// Loads of a month that were published until a snapshot, after a position: at most so many.
    pub async fn load_history(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        snapshot: SnapshotTime,
        after: Option<&LoadPosition>,
        limit: u16,
    ) -> Result<Vec<LoadRecord>, StoreError> {
        let client = self.short().await?;
        let statement = "-- load_history
            SELECT l.*, i.imported_by, i.file_name
            FROM (
                SELECT usage_day, source, published_at, import_id, record_count, digest,
                       records_purged_at IS NOT NULL AS is_purged,
                       lead(published_at) OVER versions AS superseded_at,
                       lag(published_at) OVER versions AS superseded_published_at,
                       lag(record_count) OVER versions AS superseded_record_count
                FROM usage_load
                WHERE tenant_key = $1 AND usage_month = $2 AND published_at <= $3
                WINDOW versions AS (PARTITION BY usage_day, source ORDER BY published_at)
            ) AS l
            JOIN usage_import i USING (import_id)
            WHERE $4::date IS NULL OR (l.usage_day, l.source, l.published_at) > ($4, $5, $6::timestamptz)
            ORDER BY l.usage_day, l.source, l.published_at
            LIMIT $7";
        let (day, source, published_at) = match after {
            Some(after) => (Some(after.usage_day), Some(after.source.as_str()), Some(after.published_at.as_chrono())),
            None => (None, None, None),
        };
        let snapshot = snapshot.time().as_chrono();
        let rows = client
            .fetch_all(
                statement,
                &[&tenant.key(), &month.first_day(), &snapshot, &day, &source, &published_at, &i64::from(limit)],
            )
            .await?;
        rows.iter().map(LoadRecord::from_row).collect()
    }
}
