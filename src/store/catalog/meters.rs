//! Meters of a catalog, and which of them are charged: that is kept by the publication clock, as prices are.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{
    changes::{CatalogError, Changes},
    unused::Unused,
};
use crate::{
    catalog::{Meter, Problem},
    database::Statements as _,
    store::StoreError,
};

/// A meter as it stands in the database.
struct PresentMeter {
    name: String,
    unit: String,
    charged: bool,
    key: i64,
}

/// Meters to write, under the publish lock: those that an import relies on must not change until it commits.
pub(super) struct PlannedMeters<'a> {
    changes: Changes,
    write: Vec<&'a Meter>,
    charging: Charging,
}

/// Meters that begin or cease to be charged, by their ids.
#[derive(Default)]
pub(super) struct Charging {
    begin: Vec<Uuid>,
    cease: Vec<Uuid>,
}

pub(super) async fn plan<'a>(
    transaction: &Transaction<'_>,
    declared: &'a [Meter],
    unused: &mut Unused,
    problems: &mut Vec<Problem>,
) -> Result<PlannedMeters<'a>, CatalogError> {
    let (by_id, id_by_name) = present_meters(transaction, declared).await?;
    let mut changes = Changes::default();
    let mut write: Vec<&Meter> = Vec::new();
    let mut charging = Charging::default();
    for (index, meter) in declared.iter().enumerate() {
        let entry = format!("meters[{index}]");
        if let Some(other) = id_by_name.get(&meter.name).filter(|&&id| id != meter.id.as_uuid()) {
            let reason = format!("\"{}\" is the name of meter {other} already", meter.name);
            problems.push(Problem { place: format!("{entry}.name"), reason });
            continue;
        }
        let present = by_id.get(&meter.id.as_uuid());
        // A meter that is new has been charged until now, as all are.
        if meter.charged != present.is_none_or(|present| present.charged) {
            let changing = if meter.charged { &mut charging.begin } else { &mut charging.cease };
            changing.push(meter.id.as_uuid());
        }
        match present {
            None => changes.created += 1,
            Some(present) if present.name == meter.name && present.unit == meter.unit => {
                let is_unchanged = present.charged == meter.charged;
                *if is_unchanged { &mut changes.unchanged } else { &mut changes.updated } += 1;
                continue;
            }
            Some(PresentMeter { name, unit, key, .. }) if has_usage(transaction, *key).await? => {
                let reason =
                    format!("the meter has usage as {name} in {unit}, which reports show; declare a new meter instead");
                problems.push(Problem { place: entry, reason });
                continue;
            }
            Some(PresentMeter { key, .. }) => {
                changes.updated += 1;
                unused.meters.push(*key);
            }
        }
        write.push(meter);
    }
    Ok(PlannedMeters { changes, write, charging })
}

// === impl PlannedMeters ===

impl PlannedMeters<'_> {
    /// What remains is to publish what is charged.
    pub(super) async fn write(self, transaction: &Transaction<'_>) -> Result<(Changes, Charging), StoreError> {
        write_meters(transaction, &self.write).await?;
        Ok((self.changes, self.charging))
    }
}

// === impl Charging ===

impl Charging {
    pub(super) fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.cease.is_empty()
    }

    /// Publishes it at a moment of the publication clock.
    pub(super) async fn publish(&self, transaction: &Transaction<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
        transaction
            .run(
                "-- catalog: meters that are charged again
                UPDATE uncharged_meter SET superseded_at = $1
                WHERE superseded_at IS NULL
                  AND meter_key IN (SELECT meter_key FROM meter WHERE meter_id = ANY ($2))",
                &[&now, &self.begin],
            )
            .await?;
        transaction
            .run(
                "-- catalog: meters that are not charged
                INSERT INTO uncharged_meter (meter_key, applied_at)
                SELECT meter_key, $1 FROM meter WHERE meter_id = ANY ($2)",
                &[&now, &self.cease],
            )
            .await?;
        Ok(())
    }
}

/// By their ids, and the ids by their names.
async fn present_meters(
    transaction: &Transaction<'_>,
    declared: &[Meter],
) -> Result<(HashMap<Uuid, PresentMeter>, HashMap<String, Uuid>), StoreError> {
    let ids: Vec<Uuid> = declared.iter().map(|meter| meter.id.as_uuid()).collect();
    let names: Vec<&str> = declared.iter().map(|meter| meter.name.as_str()).collect();
    let rows = transaction
        .fetch_all(
            "-- catalog: meters that are there
            SELECT meter_id, meter_key, name, unit,
                   NOT EXISTS (SELECT FROM uncharged_meter u
                               WHERE u.meter_key = meter.meter_key AND u.superseded_at IS NULL) AS charged
            FROM meter
            WHERE meter_id = ANY ($1) OR name = ANY ($2)",
            &[&ids, &names],
        )
        .await?;
    let mut by_id = HashMap::new();
    let mut id_by_name = HashMap::new();
    for row in &rows {
        let (id, name): (Uuid, String) = (row.try_get("meter_id")?, row.try_get("name")?);
        let present = PresentMeter {
            name: name.clone(),
            unit: row.try_get("unit")?,
            charged: row.try_get("charged")?,
            key: row.try_get("meter_key")?,
        };
        by_id.insert(id, present);
        id_by_name.insert(name, id);
    }
    Ok((by_id, id_by_name))
}

async fn write_meters(transaction: &Transaction<'_>, write: &[&Meter]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = write.iter().map(|meter| meter.id.as_uuid()).collect();
    let names: Vec<&str> = write.iter().map(|meter| meter.name.as_str()).collect();
    let units: Vec<&str> = write.iter().map(|meter| meter.unit.as_str()).collect();
    transaction
        .run(
            "-- catalog: meters
            INSERT INTO meter (meter_id, name, unit)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
            ON CONFLICT (meter_id) DO UPDATE SET name = excluded.name, unit = excluded.unit",
            &[&ids, &names, &units],
        )
        .await?;
    Ok(())
}

/// Asked only when a meter is to be changed, which is rare: it may look through all totals.
async fn has_usage(transaction: &Transaction<'_>, meter_key: i64) -> Result<bool, StoreError> {
    let row = transaction
        .fetch_one(
            "-- catalog: usage of a meter
            SELECT EXISTS (SELECT FROM usage_total WHERE meter_key = $1) AS has_usage",
            &[&meter_key],
        )
        .await?;
    Ok(row.try_get("has_usage")?)
}
