//! Meters: few enough to be read as a whole.

use std::{collections::HashMap, sync::Arc};

use tokio_postgres::Row;

use super::{Store, StoreError};
use crate::{
    database::Statements,
    model::{Meter, MeterId, composed},
};

/// Stands for a meter in usage tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterKey(pub(super) i64);

impl MeterKey {
    /// The key of a number.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// All meters, ordered by name, byte by byte.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    by_name: Vec<(MeterKey, Arc<Meter>)>,
    positions: HashMap<MeterKey, usize>,
}

// === impl Meters ===

impl Meters {
    fn new(mut by_name: Vec<(MeterKey, Arc<Meter>)>) -> Self {
        by_name.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let positions = by_name.iter().enumerate().map(|(position, &(key, _))| (key, position)).collect();
        Self { by_name, positions }
    }

    #[cfg(test)]
    pub(crate) fn for_test(meters: impl IntoIterator<Item = (MeterKey, Meter)>) -> Self {
        Self::new(meters.into_iter().map(|(key, meter)| (key, Arc::new(meter))).collect())
    }

    /// The meter of a key.
    pub fn get(&self, key: MeterKey) -> Result<&Arc<Meter>, StoreError> {
        self.position(key).map(|position| &self.by_name[position].1)
    }

    /// Where a meter stands in the order of names.
    pub fn position(&self, key: MeterKey) -> Result<usize, StoreError> {
        let position = self.positions.get(&key).copied();
        position.ok_or_else(|| StoreError::corrupt(format!("there is no meter {}", key.0)))
    }

    /// The meter at a position in the order of names.
    pub fn at(&self, position: usize) -> Option<&(MeterKey, Arc<Meter>)> {
        self.by_name.get(position)
    }

    /// The name of the meter of an id.
    pub fn name_of(&self, id: MeterId) -> Option<&str> {
        self.by_name.iter().find(|(_, meter)| meter.id == id).map(|(_, meter)| meter.name.as_str())
    }

    /// The position of a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.binary_search_by(|(_, meter)| meter.name.as_str().cmp(name)).ok()
    }

    /// The meters whose names people write so: composed characters and their parts are one.
    pub fn alike(&self, name: &str) -> impl Iterator<Item = MeterKey> {
        let name = composed(name).into_owned();
        self.by_name.iter().filter(move |(_, meter)| composed(&meter.name) == name).map(|&(key, _)| key)
    }
}

impl Meters {
    /// Whether the database has all of these as they are here.
    pub(super) async fn are_there(
        &self,
        client: &impl Statements<Error = tokio_postgres::Error>,
    ) -> Result<bool, StoreError> {
        let rows = client.fetch_all(SELECT, &[]).await?;
        let present: HashMap<MeterKey, Meter> = rows.iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(self.by_name.iter().all(|(key, meter)| present.get(key) == Some(&**meter)))
    }
}

const SELECT: &str = "-- meters\nSELECT meter_key, meter_id, name, unit FROM meter";

fn from_row(row: &Row) -> Result<(MeterKey, Meter), StoreError> {
    let meter = Meter {
        id: MeterId::from_uuid(row.try_get("meter_id")?),
        name: row.try_get("name")?,
        unit: row.try_get("unit")?,
    };
    Ok((MeterKey(row.try_get("meter_key")?), meter))
}

impl Store {
    pub async fn meters(&self) -> Result<Meters, StoreError> {
        let client = self.short().await?;
        let statement = SELECT;
        let rows = client.fetch_all(statement, &[]).await?;
        let meters = rows.iter().map(|row| from_row(row).map(|(key, meter)| (key, Arc::new(meter))));
        let meters = meters.collect::<Result<_, StoreError>>()?;
        Ok(Meters::new(meters))
    }
}
