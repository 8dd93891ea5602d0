//! Records of a load, a range of rows at a time.
//!
//! Rows are numbered from 1 without gaps, so a range has a known size whatever plan the database chooses. Nothing stays
//! open between two ranges: a slow reader holds no connection, no snapshot and no memory of the database.

use super::{
    Load, MeterKey, Store, StoreError, VisibleTenant,
    copy_out::{CopyColumns, CopyReader},
    loads::billing_region,
};
use crate::model::{Asset, AssetType, BillingRegion, Decimal, Month, Platform, UtcTime};

/// Stands for an asset of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetKey(pub(super) i64);

#[cfg(test)]
impl AssetKey {
    pub(crate) fn from_i64(key: i64) -> Self {
        Self(key)
    }
}

/// Which records; `None` lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    pub(super) meter_keys: Option<Vec<i64>>,
    pub(super) billing_regions: Option<Vec<i16>>,
    pub(super) trial: Option<bool>,
    pub(super) asset_types: Option<Vec<i16>>,
    pub(super) asset_keys: Option<Vec<i64>>,
}

/// Rows `after + 1` to `last` of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The row before the range; 0: from the first on.
    pub after: i32,
    /// The last row of the range.
    pub last: i32,
}

/// A record as it is stored.
#[derive(Clone, Debug)]
pub struct RecordRow {
    /// Position in the load.
    pub row_number: i32,
    /// What generated it.
    pub asset: AssetKey,
    /// What was measured.
    pub meter: MeterKey,
    /// The first moment of the period.
    pub start: UtcTime,
    /// The first moment after it.
    pub end: UtcTime,
    /// The amount.
    pub quantity: Decimal,
    /// Where it is billed.
    pub billing_region: BillingRegion,
    /// The hosting platform.
    pub platform: Option<Platform>,
    /// Whether it was under trial.
    pub trial: bool,
    /// When the trial expires or expired.
    pub trial_expiry: Option<UtcTime>,
}

// === impl RecordFilter ===

impl RecordFilter {
    /// Only these meters.
    pub fn meters(&mut self, meters: impl IntoIterator<Item = MeterKey>) {
        self.meter_keys = Some(meters.into_iter().map(|key| key.0).collect());
    }

    /// Only these regions.
    pub fn billing_regions(&mut self, regions: impl IntoIterator<Item = BillingRegion>) {
        self.billing_regions = Some(regions.into_iter().map(BillingRegion::code).collect());
    }

    /// Only trial usage, or only other usage.
    pub fn trial(&mut self, trial: bool) {
        self.trial = Some(trial);
    }

    /// Only assets of these types.
    pub fn asset_types(&mut self, types: impl IntoIterator<Item = AssetType>) {
        self.asset_types = Some(types.into_iter().map(AssetType::code).collect());
    }

    /// Only these assets.
    pub fn assets(&mut self, assets: impl IntoIterator<Item = AssetKey>) {
        self.asset_keys = Some(assets.into_iter().map(|key| key.0).collect());
    }

    /// What follows a WHERE clause.
    fn to_sql(&self) -> String {
        fn any<T: std::fmt::Display>(column: &str, values: Option<&Vec<T>>) -> String {
            let Some(values) = values else { return String::new() };
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!(" AND {column} = ANY ('{{{}}}')", values.join(","))
        }
        let mut sql = any("meter_key", self.meter_keys.as_ref());
        sql.push_str(&any("billing_region", self.billing_regions.as_ref()));
        sql.push_str(&any("asset_type", self.asset_types.as_ref()));
        sql.push_str(&any("asset_key", self.asset_keys.as_ref()));
        if let Some(trial) = self.trial {
            sql.push_str(&format!(" AND trial = {trial}"));
        }
        sql
    }

    /// Whether it looks at assets, which stored totals know nothing of.
    pub fn is_by_asset(&self) -> bool {
        self.asset_types.is_some() || self.asset_keys.is_some()
    }

    /// Whether it lets every record pass.
    pub fn is_empty(&self) -> bool {
        !self.is_by_asset() && self.meter_keys.is_none() && self.billing_regions.is_none() && self.trial.is_none()
    }
}

// === impl RecordRow ===

/// What every record has. The small columns come as one number, since handing over a column costs PostgreSQL several
/// times what adding it to another does; [`RecordRow::read`] takes them apart.
const COLUMNS: &str = "asset_key, meter_key * 64 + billing_region * 8 + coalesce(platform, 0::smallint) * 2 + trial::int, \
    period_start, period_end, quantity, trial_expiry";

impl RecordRow {
    /// Reads [`COLUMNS`].
    fn read(row_number: i32, columns: &mut CopyColumns<'_>) -> Result<Self, StoreError> {
        let asset = AssetKey(columns.i64()?);
        let packed = columns.i64()?;
        let bits = |shift: u32, count: u32| i16::try_from(packed >> shift & ((1 << count) - 1)).unwrap_or_default();
        Ok(Self {
            row_number,
            asset,
            meter: MeterKey(packed >> 6),
            start: columns.time()?,
            end: columns.time()?,
            quantity: columns.numeric()?,
            billing_region: billing_region(bits(3, 3))?,
            platform: Platform::from_code(bits(1, 2).into()),
            trial: bits(0, 1) == 1,
            trial_expiry: columns.optional(CopyColumns::time)?,
        })
    }
}

impl Store {
    /// The records of a range that pass the filter, in order.
    ///
    /// By COPY, which hands rows over with less work on both sides than a query does. It takes no parameters, but all of
    /// them are numbers and dates here.
    pub async fn read_records(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        load: &Load,
        range: RowRange,
        filter: &RecordFilter,
    ) -> Result<Vec<RecordRow>, StoreError> {
        // Without a filter the rows of a range are all its numbers.
        let whole = filter.is_empty();
        let sql = format!(
            "COPY (/* read_records */ SELECT {}{COLUMNS} FROM usage_record
            WHERE tenant_key = {} AND usage_month = '{}' AND load_id = {} AND row_number > {} AND row_number <= {}{}
            ORDER BY row_number) TO STDOUT (FORMAT binary)",
            if whole { "" } else { "row_number, " },
            tenant.key(),
            month.first_day(),
            load.id,
            range.after,
            range.last,
            filter.to_sql(),
        );
        let client = self.export().await?;
        let count = range.last.saturating_sub(range.after);
        let mut rows = Vec::with_capacity(if whole { usize::try_from(count).unwrap_or(0) } else { 0 });
        let mut reader = CopyReader::default();
        let mut last = range.after;
        client
            .copy_out(&sql, |piece| {
                reader.read(piece, |columns| {
                    last = if whole { last + 1 } else { columns.i32()? };
                    rows.push(RecordRow::read(last, columns)?);
                    Ok(())
                })
            })
            .await?;
        if whole && last != range.last {
            return Err(StoreError::corrupt(format!("load {} lacks rows up to {}", load.id, range.last)));
        }
        Ok(rows)
    }

    /// The assets of keys, in no order.
    pub async fn assets(
        &self,
        tenant: &VisibleTenant,
        keys: &[AssetKey],
    ) -> Result<Vec<(AssetKey, Asset)>, StoreError> {
        let keys: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let client = self.export().await?;
        let statement = client
            .prepare_cached(
                "-- assets
                SELECT asset_key, asset_type, asset_id, asset_name
                FROM asset
                WHERE tenant_key = $1 AND asset_key = ANY ($2)",
            )
            .await?;
        let rows = client.query(&statement, &[&tenant.key(), &keys]).await?;
        rows.iter()
            .map(|row| {
                let code: i16 = row.try_get("asset_type")?;
                let asset = Asset {
                    asset_type: AssetType::from_code(code.into())
                        .ok_or_else(|| StoreError::corrupt(format!("there is no asset type {code}")))?,
                    id: row.try_get("asset_id")?,
                    name: row.try_get("asset_name")?,
                };
                Ok((AssetKey(row.try_get("asset_key")?), asset))
            })
            .collect()
    }

    /// The keys of assets with these ids, of every type and name.
    pub async fn asset_keys(&self, tenant: &VisibleTenant, asset_ids: &[String]) -> Result<Vec<AssetKey>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- asset_keys
                SELECT asset_key FROM asset
                WHERE tenant_key = $1 AND asset_type = ANY ('{1,2,3,4,5}') AND asset_id = ANY ($2)",
            )
            .await?;
        let rows = client.query(&statement, &[&tenant.key(), &asset_ids]).await?;
        rows.iter().map(|row| Ok(AssetKey(row.try_get("asset_key")?))).collect()
    }
}
