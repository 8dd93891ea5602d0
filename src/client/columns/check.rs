//! What columns must be for the request that they answer, and what they add up to.

use std::{collections::HashMap, str::FromStr};

use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, DictionaryArray, PrimitiveArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
    cast::AsArray as _,
    types::{ArrowDictionaryKeyType, Decimal128Type, Decimal256Type, Int8Type, Int32Type, TimestampMicrosecondType},
};
use arrow_buffer::ArrowNativeType as _;
use arrow_schema::{DataType, Schema};

use super::metadata;
use crate::{
    client::{ClientError, UsageQuery, report_check::RecordCheck, usage::check_summary},
    contract::{proto::ReportHeader, usage_schema},
    model::{
        AssetType, BillingRegion, Column, Decimal, DecimalForm, Meter, OrganizationId, Platform, Totals, UsageKey,
        UtcTime,
    },
};

/// Holds batches against what was asked for, and adds up their quantities.
pub(super) struct ColumnCheck {
    organization_id: String,
    tenant_id: String,
    records: RecordCheck,
    /// Of the record before.
    day: i32,
    /// Of the records of the slice.
    totals: Totals<Meter>,
}

/// Texts of a column, and which of them each record has.
struct Texts<'a, K: ArrowDictionaryKeyType> {
    keys: &'a PrimitiveArray<K>,
    values: &'a StringArray,
}

/// What records have in common that add up to one sum.
type SumKey = (usize, usize, usize, bool);

/// The form of the quantities, where these are the columns of detailed usage.
pub(super) fn schema(schema: &Schema) -> Result<DecimalForm, ClientError> {
    let quantity = schema.field_with_name(Column::Quantity.name()).map(|field| field.data_type().clone());
    let form = match quantity {
        Ok(DataType::Decimal128(_, scale)) => Some((scale, false)),
        Ok(DataType::Decimal256(_, scale)) => Some((scale, true)),
        _ => None,
    };
    let form = form.and_then(|(scale, is_wide)| Some(DecimalForm { scale: u8::try_from(scale).ok()?, is_wide }));
    let form = form.filter(|form| usage_schema(*form, HashMap::new()).fields() == schema.fields());
    form.ok_or_else(|| ClientError::wrong("its columns are not those of detailed usage"))
}

// === impl ColumnCheck ===

impl ColumnCheck {
    pub(super) fn new(organization: OrganizationId, query: &UsageQuery, records: RecordCheck) -> Self {
        Self {
            organization_id: organization.to_string(),
            tenant_id: query.tenant_id.to_string(),
            records,
            day: i32::MIN,
            totals: Totals::default(),
        }
    }

    /// Checks a batch that has the columns of detailed usage.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<(), ClientError> {
        let column = |column: Column| batch.column(column.index());
        self.tenant(column(Column::OrganizationId), column(Column::TenantId))?;
        self.assets(column(Column::AssetType), column(Column::AssetId), column(Column::AssetName))?;
        self.periods(column(Column::Start), column(Column::End))?;
        known::<Platform>(column(Column::Platform), "platform")?;
        self.quantities(batch)
    }

    fn tenant(&self, organization: &ArrayRef, tenant: &ArrayRef) -> Result<(), ClientError> {
        for (column, expected) in [(organization, &self.organization_id), (tenant, &self.tenant_id)] {
            let texts = texts::<Int32Type>(column)?;
            if let Some(other) = texts.values.iter().flatten().find(|text| text != expected) {
                return Err(ClientError::wrong(format!("a record is of {other}, not of {expected}")));
            }
        }
        Ok(())
    }

    fn assets(&self, types: &ArrayRef, ids: &ArrayRef, names: &ArrayRef) -> Result<(), ClientError> {
        let known = known::<AssetType>(types, "asset_type")?;
        let (types, ids) = (texts::<Int8Type>(types)?, texts::<Int32Type>(ids)?);
        let names = texts::<Int32Type>(names)?;
        for name in names.values.iter().flatten() {
            self.records.name(name)?;
        }
        if !self.records.filters_assets() {
            return ids.values.iter().flatten().try_for_each(|id| self.records.asset(AssetType::User, id, ""));
        }
        let mut checked = HashMap::new();
        for (asset_type, id) in types.positions().zip(ids.positions()) {
            if checked.insert((asset_type, id), ()).is_none() {
                self.records.asset(known[asset_type], ids.values.value(id), "")?;
            }
        }
        Ok(())
    }

    fn periods(&mut self, starts: &ArrayRef, ends: &ArrayRef) -> Result<(), ClientError> {
        let (starts, ends) = (times(starts)?, times(ends)?);
        let mut last = None;
        for (start, end) in starts.values().iter().zip(ends.values()) {
            // Records that follow each other often have the same period.
            if last == Some((*start, *end)) {
                continue;
            }
            last = Some((*start, *end));
            let time = |micros| {
                UtcTime::from_unix_micros(micros).ok_or_else(|| ClientError::malformed("start or end", micros))
            };
            let start = time(*start)?;
            self.records.period(start, time(*end)?)?;
            let day = start.day_number();
            self.records.days(self.day, day)?;
            self.day = day;
        }
        Ok(())
    }

    /// Adds up the quantities by meter, region and trial.
    fn quantities(&mut self, batch: &RecordBatch) -> Result<(), ClientError> {
        let column = |column: Column| batch.column(column.index());
        let regions = known::<BillingRegion>(column(Column::BillingRegion), "billing_region")?;
        let region = texts::<Int8Type>(column(Column::BillingRegion))?;
        let (names, ids) =
            (texts::<Int32Type>(column(Column::MeterName))?, texts::<Int32Type>(column(Column::MeterId))?);
        let trial: &BooleanArray = column(Column::Trial).as_boolean_opt().ok_or_else(malformed)?;
        let quantity = Quantities::of(column(Column::Quantity))?;
        let mut slots: Vec<(SumKey, usize)> = Vec::new();
        let mut last = 0;
        let keys = names.positions().zip(ids.positions()).zip(region.positions()).zip(trial.values());
        for (row, (((name, id), region), trial)) in keys.enumerate() {
            let key = (name, id, region, trial);
            if slots.get(last).is_none_or(|(known, _)| *known != key) {
                last = match slots.iter().position(|(known, _)| *known == key) {
                    Some(known) => known,
                    None => {
                        let key_of_sum = self.sum_key(&names, &ids, regions[region], key)?;
                        slots.push((key, self.totals.slot(&key_of_sum)));
                        slots.len() - 1
                    }
                };
            }
            self.totals.add_to(slots[last].1, quantity.get(row)?);
        }
        crate::client::usage::check_sums(self.totals.iter().len())
    }

    fn sum_key(
        &self,
        names: &Texts<'_, Int32Type>,
        ids: &Texts<'_, Int32Type>,
        billing_region: BillingRegion,
        (name, id, _, trial): SumKey,
    ) -> Result<UsageKey<Meter>, ClientError> {
        let (name, id) = (names.values.value(name), ids.values.value(id));
        self.records.meter(name)?;
        self.records.attributes(billing_region, trial)?;
        let id = id.parse().map_err(|_| ClientError::malformed("meter_id", id))?;
        Ok(UsageKey { meter: Meter { id, name: name.to_owned(), unit: String::new() }, billing_region, trial })
    }

    /// Compares the records of a slice with its summary, and begins with the next one.
    pub(super) fn end_of_slice(
        &mut self,
        received: u64,
        header: &ReportHeader,
        summary: &[u8],
    ) -> Result<(), ClientError> {
        let summary = metadata::summary(summary)?;
        let totals = std::mem::take(&mut self.totals);
        let totals = totals.iter().map(|(key, total)| {
            let key = UsageKey { meter: &key.meter, billing_region: key.billing_region, trial: key.trial };
            (key, total)
        });
        check_summary(header, &summary, received, totals)
    }
}

/// The quantities of a batch.
enum Quantities<'a> {
    Narrow(&'a Decimal128Array, u8),
    Wide(&'a Decimal256Array, u8),
}

// === impl Quantities ===

impl<'a> Quantities<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self, ClientError> {
        let scale = |scale: i8| u8::try_from(scale).map_err(|_| malformed());
        match column.data_type() {
            DataType::Decimal128(_, places) => {
                let column = column.as_primitive_opt::<Decimal128Type>().ok_or_else(malformed)?;
                Ok(Self::Narrow(column, scale(*places)?))
            }
            DataType::Decimal256(_, places) => {
                let column = column.as_primitive_opt::<Decimal256Type>().ok_or_else(malformed)?;
                Ok(Self::Wide(column, scale(*places)?))
            }
            _ => Err(malformed()),
        }
    }

    fn get(&self, row: usize) -> Result<Decimal, ClientError> {
        let invalid = || ClientError::malformed("quantity", row);
        match self {
            Self::Narrow(column, scale) => {
                let units = u128::try_from(column.value(row)).ok();
                units.and_then(|units| Decimal::new(units, *scale)).ok_or_else(invalid)
            }
            Self::Wide(column, scale) => {
                let units = column.value(row);
                Decimal::from_str(&format!("{units}E-{scale}")).map_err(|_| invalid())
            }
        }
    }
}

// === impl Texts ===

impl<K: ArrowDictionaryKeyType> Texts<'_, K> {
    /// Which of the values each record has; the first one where there is none, in columns where some may have none.
    fn positions(&self) -> impl Iterator<Item = usize> {
        self.keys.values().iter().map(|key| key.as_usize())
    }
}

fn texts<K: ArrowDictionaryKeyType>(column: &ArrayRef) -> Result<Texts<'_, K>, ClientError> {
    let dictionary: &DictionaryArray<K> = column.as_dictionary_opt().ok_or_else(malformed)?;
    let values = dictionary.values().as_string_opt().ok_or_else(malformed)?;
    Ok(Texts { keys: dictionary.keys(), values })
}

/// The values that texts of a closed set stand for.
fn known<T: FromStr>(column: &ArrayRef, field: &str) -> Result<Vec<T>, ClientError> {
    let texts = texts::<Int8Type>(column)?;
    let read = |text: Option<&str>| {
        let text = text.unwrap_or_default();
        text.parse().map_err(|_| ClientError::malformed(field, text))
    };
    texts.values.iter().map(read).collect()
}

fn times(column: &ArrayRef) -> Result<&TimestampMicrosecondArray, ClientError> {
    column.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(malformed)
}

fn malformed() -> ClientError {
    ClientError::Malformed("a column is not of its type".to_owned())
}
