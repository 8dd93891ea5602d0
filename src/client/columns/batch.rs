//! Records with what they repeat once, as packed messages bring them, held against the request.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;

use crate::{
    client::{
        ClientError, packed_records::PackedRecords, report_check::RecordCheck, report_message::Encoded,
        usage::check_sums,
    },
    contract::{Fields, RecordReader, WireValue, proto},
    model::{AssetType, Column, Decimal, Meter, RecordDimensions, Total, Totals, UsageKey, UsageRecord},
};

/// Dimensions that are kept from message to message. Records of a day have some hundreds.
const MAX_KNOWN: usize = 4096;

/// Records that came together. What they repeat is there once, and they name its position.
#[derive(Default)]
pub struct UsageBatch {
    /// The ids and names of assets, one behind the other.
    texts: String,
    assets: Vec<AssetTexts>,
    dimensions: Vec<Arc<Dimensions>>,
    records: Vec<BatchRecord>,
}

/// A record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The position of its asset.
    pub asset: u32,
    /// The position of what it is beside its asset.
    pub dimensions: u32,
    pub quantity: Decimal,
}

type Dimensions = RecordDimensions<Arc<Meter>>;

/// Where the texts of an asset end; they begin where those of the one before end.
struct AssetTexts {
    asset_type: AssetType,
    id_end: usize,
    name_end: usize,
}

/// Reads batches and adds them up.
pub(super) struct BatchReader {
    check: RecordCheck,
    /// The usage day of the last record.
    day: i32,
    plain: RecordReader,
    /// Dimensions as they were read, by how they are encoded.
    known: HashMap<Vec<u8>, Known>,
    totals: Totals<Arc<Meter>>,
}

#[derive(Clone)]
struct Known {
    dimensions: Arc<Dimensions>,
    day: i32,
}

// === impl UsageBatch ===

impl UsageBatch {
    /// How many assets its records have.
    pub fn asset_count(&self) -> usize {
        self.assets.len()
    }

    /// The type, id and name of an asset.
    pub fn asset(&self, position: usize) -> (AssetType, &str, &str) {
        let AssetTexts { asset_type, id_end, name_end } = self.assets[position];
        let start = position.checked_sub(1).map_or(0, |before| self.assets[before].name_end);
        (asset_type, &self.texts[start..id_end], &self.texts[id_end..name_end])
    }

    /// What records are beside their assets, by position.
    pub fn dimensions(&self) -> &[Arc<RecordDimensions<Arc<Meter>>>] {
        &self.dimensions
    }

    /// In the report's order.
    pub fn records(&self) -> &[BatchRecord] {
        &self.records
    }

    /// Without records, but with the room for as many.
    pub fn clear(&mut self) {
        let Self { texts, assets, dimensions, records } = self;
        texts.clear();
        assets.clear();
        dimensions.clear();
        records.clear();
    }

    /// Adds a record of the report's tenant.
    pub fn push(&mut self, record: &UsageRecord) {
        let asset = (record.asset.asset_type, record.asset.id.as_str(), record.asset.name.as_str());
        if self.assets.len().checked_sub(1).map(|last| self.asset(last)) != Some(asset) {
            self.push_asset(asset.0, asset.1, asset.2);
        }
        if self.dimensions.last().is_none_or(|last| **last != record.dimensions) {
            self.dimensions.push(Arc::new(record.dimensions.clone()));
        }
        let [asset, dimensions] = [self.assets.len(), self.dimensions.len()].map(|count| position(count - 1));
        self.records.push(BatchRecord { asset, dimensions, quantity: record.quantity });
    }

    fn push_asset(&mut self, asset_type: AssetType, id: &str, name: &str) {
        self.texts.push_str(id);
        let id_end = self.texts.len();
        self.texts.push_str(name);
        self.assets.push(AssetTexts { asset_type, id_end, name_end: self.texts.len() });
    }

    /// Drops all assets behind the first ones.
    fn truncate_assets(&mut self, count: usize) {
        self.assets.truncate(count);
        self.texts.truncate(self.assets.last().map_or(0, |asset| asset.name_end));
    }
}

// === impl BatchReader ===

impl BatchReader {
    pub(super) fn new(check: RecordCheck) -> Self {
        let (plain, known) = (RecordReader::default(), HashMap::new());
        Self { check, day: i32::MIN, plain, known, totals: Totals::default() }
    }

    /// The totals of the records so far.
    pub(super) fn totals(&self) -> impl Iterator<Item = (&UsageKey<Arc<Meter>>, &Total)> {
        self.totals.iter()
    }

    /// Adds records to a batch. What is not packed as usual goes the plain way, which says what is wrong with it.
    pub(super) fn read(&mut self, records: &Encoded<'_>, batch: &mut UsageBatch) -> Result<(), ClientError> {
        if let Encoded::Packed(packed) = records {
            let first_asset = batch.assets.len();
            if let Some(dimensions) = self.read_parts(packed, batch) {
                return self.read_packed(packed, first_asset, &dimensions, batch);
            }
            batch.truncate_assets(first_asset);
        }
        records.each(|record| self.read_plain(record, batch))
    }

    /// Adds the assets of a message, and reads its dimensions. `None`: one of them is not as usual.
    fn read_parts(&mut self, packed: &PackedRecords<'_>, batch: &mut UsageBatch) -> Option<Vec<Known>> {
        for asset in &packed.assets {
            let (asset_type, id, name) = read_asset(asset)?;
            self.check.asset(asset_type, id, name).ok()?;
            batch.push_asset(asset_type, id, name);
        }
        packed.dimensions.iter().map(|encoded| self.read_dimensions(encoded)).collect()
    }

    fn read_dimensions(&mut self, encoded: &[u8]) -> Option<Known> {
        if let Some(known) = self.known.get(encoded) {
            return Some(known.clone());
        }
        let message = proto::UsageRecord::decode(encoded).ok()?;
        let is_beside_asset = message.asset_id.is_empty() && message.asset_name.is_empty() && message.asset_type == 0;
        if !is_beside_asset || !message.quantity.is_empty() {
            return None;
        }
        let asset_type = AssetType::User.code().into();
        let record = self.plain.read(proto::UsageRecord { asset_type, quantity: "0".to_owned(), ..message }).ok()?;
        self.check.besides_asset(&record).ok()?;
        let known = Known { day: record.dimensions.start.day_number(), dimensions: Arc::new(record.dimensions) };
        if self.known.len() == MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(encoded.to_vec(), known.clone());
        Some(known)
    }

    /// Where records of these dimensions are added up.
    fn slot(&mut self, dimensions: &Dimensions) -> Result<usize, ClientError> {
        let UsageKey { meter, billing_region, trial } = dimensions.usage_key();
        let slot = self.totals.slot(&UsageKey { meter: Arc::clone(meter), billing_region, trial });
        check_sums(self.totals.iter().len())?;
        Ok(slot)
    }

    fn read_packed(
        &mut self,
        packed: &PackedRecords<'_>,
        first_asset: usize,
        dimensions: &[Known],
        batch: &mut UsageBatch,
    ) -> Result<(), ClientError> {
        let first_dimensions = batch.dimensions.len();
        batch.dimensions.extend(dimensions.iter().map(|known| Arc::clone(&known.dimensions)));
        batch.records.reserve(packed.records().len());
        // Of dimensions that some record has: others have no total.
        let mut totals = vec![None; dimensions.len()];
        for record in packed.records() {
            let known = &dimensions[record.dimensions];
            self.check.days(self.day, known.day)?;
            self.day = known.day;
            let quantity = read_quantity(record.quantity)?;
            let total = match totals[record.dimensions] {
                Some(total) => total,
                None => *totals[record.dimensions].insert(self.slot(&known.dimensions)?),
            };
            self.totals.add_to(total, quantity);
            let (asset, dimensions) = (first_asset + record.asset, first_dimensions + record.dimensions);
            batch.records.push(BatchRecord { asset: position(asset), dimensions: position(dimensions), quantity });
        }
        Ok(())
    }

    fn read_plain(&mut self, record: &[u8], batch: &mut UsageBatch) -> Result<(), ClientError> {
        let message = proto::UsageRecord::decode(record);
        let message = message.map_err(|error| ClientError::malformed("record", error.to_string()))?;
        let record = self.plain.read(message)?;
        self.check.record(&record)?;
        let day = record.dimensions.start.day_number();
        self.check.days(self.day, day)?;
        self.day = day;
        let total = self.slot(&record.dimensions)?;
        self.totals.add_to(total, record.quantity);
        batch.push(&record);
        Ok(())
    }
}

/// A message has some thousands.
fn position(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The type, id and name of an encoded asset; `None`: it has other fields, or not one of these, or they are not in order.
fn read_asset(encoded: &[u8]) -> Option<(AssetType, &str, &str)> {
    let mut fields = Fields::new(encoded);
    let name = fields.next_if(Column::AssetName.field()).map_or(Some(""), WireValue::text)?;
    let id = fields.next_if(Column::AssetId.field())?.text()?;
    let WireValue::Varint(code) = fields.next_if(Column::AssetType.field())? else { return None };
    let asset_type = AssetType::from_code(i32::try_from(code).ok()?)?;
    fields.rest.is_empty().then_some((asset_type, id, name))
}

fn read_quantity(text: &[u8]) -> Result<Decimal, ClientError> {
    // Reports write them plainly.
    if let Ok(quantity) = Decimal::from_plain(text) {
        return Ok(quantity);
    }
    let text = String::from_utf8_lossy(text);
    text.parse().map_err(|_| ClientError::malformed("quantity", text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        client::packing::packed,
        model::{Asset, arbitrary},
    };

    /// Records as they are without a batch.
    fn records_of(batch: &UsageBatch, like: &UsageRecord) -> Vec<UsageRecord> {
        let record = |record: &BatchRecord| {
            let (asset_type, id, name) = batch.asset(record.asset as usize);
            UsageRecord {
                asset: Arc::new(Asset { asset_type, id: id.to_owned(), name: name.to_owned() }),
                dimensions: (*batch.dimensions()[record.dimensions as usize]).clone(),
                quantity: record.quantity,
                ..like.clone()
            }
        };
        batch.records().iter().map(record).collect()
    }

    proptest! {
        #[test]
        fn batches_have_the_records(records in arbitrary::records(), unusual in any::<bool>()) {
            let message = packed(&records, unusual);
            let encoded: Vec<_> =
                records.iter().map(|record| proto::UsageRecord::from(record).encode_to_vec()).collect();
            let mut reader = BatchReader::new(RecordCheck::default());
            let mut batch = UsageBatch::default();
            // Twice, so that what is remembered is used; and one by one.
            for _ in 0..2 {
                let packed = Encoded::Packed(PackedRecords::read(&message).expect("sound"));
                reader.read(&packed, &mut batch).expect("sound");
            }
            for record in &encoded {
                reader.read(&Encoded::Record(record), &mut batch).expect("sound");
            }
            let expected = [records.clone(), records.clone(), records.clone()].concat();
            prop_assert_eq!(records_of(&batch, &records[0]), expected.clone());
            let mut totals = Totals::default();
            expected.iter().for_each(|record| totals.add(&record.dimensions.usage_key(), record.quantity));
            let sums = |key: &Meter, total: &Total| format!("{key:?} {} {}", total.record_count, total.quantity.total());
            let mut found: Vec<_> = reader.totals().map(|(key, total)| sums(&key.meter, total)).collect();
            let mut expected: Vec<_> = totals.iter().map(|(key, total)| sums(key.meter, total)).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);

            // What no record names adds up to nothing.
            let mut unnamed = proto::PackedRecords::decode(message.as_slice()).expect("sound");
            unnamed.asset_indexes.truncate(1);
            unnamed.dimension_indexes.truncate(1);
            unnamed.quantities.truncate(1);
            let (mut one, unnamed) = (BatchReader::new(RecordCheck::default()), unnamed.encode_to_vec());
            let packed = Encoded::Packed(PackedRecords::read(&unnamed).expect("sound"));
            one.read(&packed, &mut UsageBatch::default()).expect("sound");
            prop_assert_eq!(one.totals().map(|(_, total)| total.record_count).collect::<Vec<_>>(), [1]);

            batch.clear();
            reader.read(&Encoded::Record(&encoded[0]), &mut batch).expect("sound");
            prop_assert_eq!(records_of(&batch, &records[0]), &records[..1]);
            prop_assert_eq!((batch.asset_count(), batch.dimensions().len()), (1, 1));
        }
    }
}
