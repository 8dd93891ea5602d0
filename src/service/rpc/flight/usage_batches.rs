//! Records of a report as batches of columns, without rows in between.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, DictionaryArray, PrimitiveArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
    types::{ArrowDictionaryKeyType, Int8Type, Int32Type},
};
use arrow_buffer::i256;
use arrow_schema::{ArrowError, SchemaRef};

use crate::{
    contract::{Texts, asset_texts},
    model::{
        AssetType, BillingRegion, Column, Decimal, DecimalForm, MAX_ASSET_ID_BYTES, MAX_ASSET_NAME_BYTES, Meter,
        Platform, UtcTime,
    },
    reports::{UsageChunk, UsageHeader},
    service::rpc::usage::CurrentAssets,
    store::{AssetKey, MeterKey, RecordColumns, StoreError, StoredDimensions},
};

/// The most that a batch may take, about: clients refuse messages of more than 4 MiB by default, and the server keeps some of
/// them for each stream.
const BATCH_BYTES: usize = 480 << 10;
/// What a record takes, with quantities of the usual width.
const RECORD_BYTES: usize = 67;
/// The longest text of an asset.
const MAX_TEXT_BYTES: usize =
    if MAX_ASSET_ID_BYTES > MAX_ASSET_NAME_BYTES { MAX_ASSET_ID_BYTES } else { MAX_ASSET_NAME_BYTES };

/// Makes the batches of a report.
pub(super) struct UsageBatches {
    schema: SchemaRef,
    quantities: DecimalForm,
    assets: CurrentAssets,
    organization: ArrayRef,
    tenant: ArrayRef,
    /// The positions of meters in their texts.
    meters: Vec<(MeterKey, i32)>,
    meter_names: ArrayRef,
    meter_ids: ArrayRef,
    asset_types: ArrayRef,
    billing_regions: ArrayRef,
    platforms: ArrayRef,
}

/// What records of the same dimensions have in common.
struct Common {
    asset_type: i8,
    meter: i32,
    start: i64,
    end: i64,
    billing_region: i8,
    platform: Option<i8>,
    trial: bool,
    trial_expiry: Option<i64>,
}

/// Names and ids of assets: for each record the position of its text.
struct AssetColumns {
    names: Vec<i32>,
    ids: Vec<i32>,
    name_texts: ArrayRef,
    id_texts: ArrayRef,
}

/// A batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    #[error("a number has more digits than its column")]
    TooLong,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

// === impl UsageBatches ===

impl UsageBatches {
    /// `meters`: all that records may be of.
    pub(super) fn new<'a>(
        header: &UsageHeader,
        quantities: DecimalForm,
        meters: impl Iterator<Item = (MeterKey, &'a Meter)>,
        schema: SchemaRef,
        assets: CurrentAssets,
    ) -> Self {
        let (mut names, mut ids, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (key, meter) in meters {
            if keys.iter().all(|(known, _)| *known != key) {
                keys.push((key, i32::try_from(keys.len()).unwrap_or(i32::MAX)));
                names.push(meter.name.as_str());
                ids.push(meter.id.to_string());
            }
        }
        let one = |text: String| Arc::new(StringArray::from_iter_values([text])) as ArrayRef;
        let all = |names: &mut dyn Iterator<Item = &'static str>| Arc::new(StringArray::from_iter_values(names)) as _;
        Self {
            schema,
            quantities,
            assets,
            organization: one(header.tenant.organization_id().to_string()),
            tenant: one(header.tenant.id().to_string()),
            meters: keys,
            meter_names: Arc::new(StringArray::from_iter_values(names)),
            meter_ids: Arc::new(StringArray::from_iter_values(ids)),
            asset_types: all(&mut AssetType::ALL.iter().map(|value| value.as_str())),
            billing_regions: all(&mut BillingRegion::ALL.iter().map(|value| value.as_str())),
            platforms: all(&mut Platform::ALL.iter().map(|value| value.as_str())),
        }
    }

    /// Where the assets of records are to be put before they are made into a batch.
    pub(super) fn assets(&mut self) -> &mut CurrentAssets {
        &mut self.assets
    }

    /// A batch without records.
    pub(super) fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.schema))
    }

    /// The batches of a chunk, in order.
    pub(super) fn of(&self, chunk: &UsageChunk<RecordColumns>) -> Result<Vec<RecordBatch>, BatchError> {
        let columns = chunk.columns();
        let common = columns.dimensions.iter().map(|stored| self.common(stored)).collect::<Result<Vec<_>, _>>()?;
        let keys = chunk.asset_keys();
        let (mut batches, mut start) = (Vec::new(), 0);
        while start < columns.assets.len() {
            let (batch, end) = self.batch(columns, &common, &keys, start)?;
            batches.push(batch);
            start = end;
        }
        Ok(batches)
    }

    fn common(&self, stored: &StoredDimensions) -> Result<Common, StoreError> {
        let of = &stored.dimensions;
        let meter = self.meters.iter().find(|(key, _)| *key == of.meter);
        let (_, meter) =
            meter.ok_or_else(|| StoreError::corrupt("a record is of a meter that its totals are not of"))?;
        Ok(Common {
            asset_type: position(AssetType::ALL, stored.asset_type),
            meter: *meter,
            start: of.start.unix_micros(),
            end: of.end.unix_micros(),
            billing_region: position(BillingRegion::ALL, of.billing_region),
            platform: of.platform.map(|platform| position(Platform::ALL, platform)),
            trial: of.trial,
            trial_expiry: of.trial_expiry.map(UtcTime::unix_micros),
        })
    }

    /// A batch of the records from one on, and where the next one begins.
    fn batch(
        &self,
        columns: &RecordColumns,
        common: &[Common],
        keys: &[AssetKey],
        start: usize,
    ) -> Result<(RecordBatch, usize), BatchError> {
        let record_bytes = RECORD_BYTES + if self.quantities.is_wide { 16 } else { 0 };
        let last = columns.assets.len().min(start + BATCH_BYTES / record_bytes);
        let assets = self.asset_columns(&columns.assets[start..last], keys)?;
        let end = start + assets.ids.len();
        let of: Vec<&Common> = columns.dimension_indexes[start..end].iter().map(|&index| &common[index]).collect();
        let arrays: [ArrayRef; Column::COUNT] = [
            texts::<Int32Type>(vec![0; of.len()].into(), &self.organization)?,
            texts::<Int32Type>(vec![0; of.len()].into(), &self.tenant)?,
            texts::<Int32Type>(assets.names.into(), &assets.name_texts)?,
            texts::<Int32Type>(assets.ids.into(), &assets.id_texts)?,
            texts::<Int8Type>(of.iter().map(|common| common.asset_type).collect::<Vec<_>>().into(), &self.asset_types)?,
            texts::<Int32Type>(of.iter().map(|common| common.meter).collect::<Vec<_>>().into(), &self.meter_names)?,
            texts::<Int32Type>(of.iter().map(|common| common.meter).collect::<Vec<_>>().into(), &self.meter_ids)?,
            times(of.iter().map(|common| common.start).collect::<Vec<_>>()),
            times(of.iter().map(|common| common.end).collect::<Vec<_>>()),
            quantities(self.quantities, &columns.quantities[start..end])?,
            texts::<Int8Type>(
                of.iter().map(|common| common.billing_region).collect::<Vec<_>>().into(),
                &self.billing_regions,
            )?,
            texts::<Int8Type>(of.iter().map(|common| common.platform).collect(), &self.platforms)?,
            Arc::new(of.iter().map(|common| Some(common.trial)).collect::<BooleanArray>()),
            times(of.iter().map(|common| common.trial_expiry).collect::<Vec<_>>()),
        ];
        Ok((RecordBatch::try_new(Arc::clone(&self.schema), arrays.to_vec())?, end))
    }

    /// Names and ids of the assets of records, of as many as a message has room for. `keys`: theirs, in order, each once.
    fn asset_columns(&self, of_records: &[AssetKey], keys: &[AssetKey]) -> Result<AssetColumns, StoreError> {
        let count = keys.len().min(of_records.len());
        let (mut name_texts, mut id_texts) = (Texts::with_capacity(count), Texts::with_capacity(count));
        let (mut names, mut ids) = (Vec::with_capacity(of_records.len()), Vec::with_capacity(of_records.len()));
        let mut known: Vec<Option<(i32, i32)>> = vec![None; keys.len()];
        let mut at = 0;
        for key in of_records {
            // Records of one asset follow each other, and so do assets.
            if keys.get(at) != Some(key) {
                at = if keys.get(at + 1) == Some(key) { at + 1 } else { keys.binary_search(key).unwrap_or(usize::MAX) };
            }
            let there = || StoreError::Missing(format!("a record names an asset that is not there ({key:?})"));
            let (name, id) = match known.get(at).ok_or_else(there)? {
                Some(known) => *known,
                None => {
                    if name_texts.bytes().max(id_texts.bytes()) >= BATCH_BYTES - MAX_TEXT_BYTES {
                        break;
                    }
                    let (name, id) = self.assets.look_up(*key).and_then(asset_texts).ok_or_else(there)?;
                    *known[at].insert((name_texts.position(name), id_texts.position(id)))
                }
            };
            names.push(name);
            ids.push(id);
        }
        Ok(AssetColumns { names, ids, name_texts: name_texts.to_array(), id_texts: id_texts.to_array() })
    }
}

/// The position of a value in its set, which is its position in the dictionary.
fn position<T: PartialEq + Copy>(all: &[T], value: T) -> i8 {
    all.iter().position(|&known| known == value).and_then(|position| i8::try_from(position).ok()).unwrap_or_default()
}

fn texts<K: ArrowDictionaryKeyType>(keys: PrimitiveArray<K>, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(DictionaryArray::try_new(keys, Arc::clone(values))?))
}

fn times(micros: impl Into<TimestampMicrosecondArray>) -> ArrayRef {
    Arc::new(micros.into().with_timezone("UTC"))
}

/// Fails where a quantity has more digits than the form, which is made of the totals, has.
fn quantities(form: DecimalForm, quantities: &[Decimal]) -> Result<ArrayRef, BatchError> {
    let too_long = || BatchError::from(StoreError::corrupt("a quantity has more digits than its total"));
    // At most 38.
    let (precision, scale) = (form.precision(), form.scale.cast_signed());
    if form.is_wide {
        let units = quantities.iter().map(|&quantity| {
            let (digits, factor) = form.wide_units(quantity).ok_or_else(too_long)?;
            let [digits, factor] = [digits, factor].map(|number| i256::from_parts(number, 0));
            digits.checked_mul(factor).ok_or_else(too_long)
        });
        let units = units.collect::<Result<Vec<_>, _>>()?;
        return Ok(Arc::new(Decimal256Array::from(units).with_precision_and_scale(precision, scale)?));
    }
    let units = quantities.iter().map(|&quantity| form.units(quantity).ok_or_else(too_long));
    let units = units.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Decimal128Array::from(units).with_precision_and_scale(precision, scale)?))
}
