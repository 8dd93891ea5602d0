//! The records of a row group, and its columns.

use std::{io::Write, sync::Arc};

use arrow_buffer::i256;
use parquet::{
    basic::Encoding,
    data_type::{ByteArray, FixedLenByteArray},
    errors::ParquetError,
    file::{statistics::Statistics, writer::SerializedRowGroupWriter},
    schema::types::ColumnDescPtr,
};

use super::{
    chunk::{Chunk, Compressors, DataPage, DictionaryPage, PageKind},
    dictionary::Dictionary,
    hybrid,
};
use crate::{
    client::UsageColumns,
    model::{
        AssetType, Column, Decimal, DecimalForm, Form, Meter, Part, RecordDimensions, Value, asset_values,
        tenant_values,
    },
};

/// Readers take a page at a time.
const PAGE_RECORDS: usize = 1 << 16;
/// Where a value is not there.
const NULL: u32 = u32::MAX;

/// Records that wait until their row group is written.
pub(super) struct RowGroup {
    columns: [Values; Column::COUNT],
    /// The assets and dimensions of records, by their positions in `columns`.
    assets: Vec<u32>,
    dimensions: Vec<u32>,
    quantities: Quantities,
    tenant: [Value<'static>; 2],
    /// How many bytes of memory the values of all columns take, each once.
    memory: usize,
}

/// The values of a column.
struct Values {
    dictionary: Dictionary,
    /// As it was written with the row group before.
    page: Option<DictionaryPage>,
    /// Which of them each asset has, or each dimensions, or [`NULL`]. Of flags these are 0 and 1, and there is no dictionary.
    codes: Vec<u32>,
}

/// Which of its values a column has in each record.
struct Positions {
    column: Column,
    is_nullable: bool,
    pages: Vec<DataPage>,
    nulls: u64,
}

/// As the file has them: units, the highest byte first. Whole pages are compressed as they are filled, so that little is left to be
/// done at the end of a row group.
struct Quantities {
    form: DecimalForm,
    page: Vec<u8>,
    pages: Vec<DataPage>,
    /// Of the pages, as the file has them.
    extremes: Option<[Vec<u8>; 2]>,
}

// === impl RowGroup ===

impl RowGroup {
    pub(super) fn new(of: &UsageColumns) -> Self {
        Self {
            columns: Column::ALL.map(Values::new),
            assets: Vec::new(),
            dimensions: Vec::new(),
            quantities: Quantities { form: of.quantities, page: Vec::new(), pages: Vec::new(), extremes: None },
            tenant: tenant_values(of.organization_id, of.tenant_id),
            memory: 0,
        }
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.assets.len()
    }

    /// How many bytes of memory the values of its columns take, each once.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Adds an asset; returns its position.
    pub(super) fn add_asset(&mut self, asset_type: AssetType, id: &str, name: &str) -> u32 {
        self.add(Part::Asset, &asset_values(asset_type, id, name))
    }

    /// Adds what records are beside their assets; returns its position.
    pub(super) fn add_dimensions(&mut self, dimensions: &RecordDimensions<Arc<Meter>>) -> u32 {
        self.add(Part::Meter, &dimensions.meter.values());
        self.add(Part::Period, &dimensions.period());
        self.add(Part::Attributes, &dimensions.attributes())
    }

    fn add(&mut self, part: Part, values: &[Value<'_>]) -> u32 {
        let mut position = 0;
        for (column, value) in part.columns().iter().zip(values) {
            let of = &mut self.columns[column.index()];
            let before = of.dictionary.memory();
            let code = of.code(value);
            self.memory += of.dictionary.memory() - before;
            position = of.codes.len();
            of.codes.push(code);
        }
        // A row group has fewer.
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    /// Adds a record; `false`: its quantity does not fit the column.
    pub(super) fn push(
        &mut self,
        (asset, dimensions): (u32, u32),
        quantity: Decimal,
        compressors: &mut Compressors,
    ) -> Result<bool, ParquetError> {
        if self.quantities.push(quantity).is_none() {
            return Ok(false);
        }
        self.assets.push(asset);
        self.dimensions.push(dimensions);
        if self.len().is_multiple_of(PAGE_RECORDS) {
            self.quantities.end_page(compressors)?;
        }
        Ok(true)
    }

    /// Without records, but with the room for as many.
    pub(super) fn clear(&mut self) {
        self.columns.iter_mut().for_each(Values::clear);
        self.assets.clear();
        self.dimensions.clear();
        self.quantities.clear();
        self.memory = 0;
    }

    /// Writes all columns.
    pub(super) fn write<W: Write + Send>(
        &mut self,
        columns: &[ColumnDescPtr],
        compressors: &mut Compressors,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        self.add(Part::Tenant, &self.tenant.clone());
        let mut before: Option<Positions> = None;
        for (&column, described) in Column::ALL.iter().zip(columns) {
            let mut chunk = Chunk::new();
            if matches!(column.form(), Form::Decimal) {
                let statistics = self.quantities.write(&mut chunk, compressors)?;
                chunk.finish(described.clone(), statistics, group)?;
                continue;
            }
            let statistics = match column.form() {
                Form::Flag => write_flags(&self.codes(column), &mut chunk, compressors)?,
                form => {
                    chunk.write_dictionary(self.columns[column.index()].page(compressors)?)?;
                    let is_nullable = described.max_def_level() > 0;
                    // Ids go with names, and ends with starts.
                    let same = before.take().filter(|before| {
                        before.is_nullable == is_nullable && self.has_same_codes(before.column, column)
                    });
                    let positions = match same {
                        Some(same) => same,
                        None => self.positions(column, is_nullable, compressors)?,
                    };
                    chunk.write_data(&positions.pages)?;
                    let statistics = self.columns[column.index()].statistics(form, positions.nulls);
                    before = Some(positions);
                    statistics
                }
            };
            chunk.finish(described.clone(), statistics, group)?;
        }
        Ok(())
    }

    /// Which value of a column each record has.
    fn codes(&self, column: Column) -> Vec<u32> {
        let codes = &self.columns[column.index()].codes;
        let of = if column.part() == Part::Asset { &self.assets } else { &self.dimensions };
        match codes.split_first() {
            Some((first, rest)) if rest.iter().all(|code| code == first) => vec![*first; self.len()],
            _ => of.iter().map(|&position| codes[position as usize]).collect(),
        }
    }

    fn positions(
        &self,
        column: Column,
        is_nullable: bool,
        compressors: &mut Compressors,
    ) -> Result<Positions, ParquetError> {
        let count = self.columns[column.index()].dictionary.len();
        let width = hybrid::bit_width(count.saturating_sub(1).try_into().unwrap_or(u32::MAX));
        // Many values hardly repeat.
        let kind = if u32::from(width) > u8::BITS { PageKind::Units } else { PageKind::Others };
        let mut positions = Positions { column, is_nullable, pages: Vec::new(), nulls: 0 };
        let mut page = Vec::new();
        for codes in self.codes(column).chunks(PAGE_RECORDS) {
            page.clear();
            if is_nullable {
                let levels: Vec<u32> = codes.iter().map(|&code| u32::from(code != NULL)).collect();
                let present: Vec<u32> = codes.iter().copied().filter(|&code| code != NULL).collect();
                positions.nulls += (codes.len() - present.len()) as u64;
                page.resize(size_of::<u32>(), 0);
                hybrid::encode(&levels, 1, &mut page);
                let length = (page.len() - size_of::<u32>()) as u32;
                page[..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
                page.push(width);
                hybrid::encode(&present, width, &mut page);
            } else {
                page.push(width);
                hybrid::encode(codes, width, &mut page);
            }
            positions.pages.push(compressors.page(kind, &page, codes.len(), Encoding::RLE_DICTIONARY)?);
        }
        Ok(positions)
    }

    /// Whether records have the values of two columns at the same positions.
    fn has_same_codes(&self, one: Column, other: Column) -> bool {
        let [of_one, of_other] = [one, other].map(|column| &self.columns[column.index()]);
        one.part() == other.part()
            && of_one.codes == of_other.codes
            && of_one.dictionary.len() == of_other.dictionary.len()
    }
}

// === impl Values ===

impl Values {
    fn new(of: Column) -> Self {
        let has_lengths = !matches!(of.form(), Form::Time);
        Self { dictionary: Dictionary::new(has_lengths), page: None, codes: Vec::new() }
    }

    /// The values. Often they are those of the day before.
    fn page(&mut self, compressors: &mut Compressors) -> Result<DictionaryPage, ParquetError> {
        match &self.page {
            Some(page) if self.dictionary.is_as_before() => Ok(page.clone()),
            _ => {
                let page = compressors.dictionary_page(&self.dictionary.plain(), self.dictionary.len())?;
                Ok(self.page.insert(page).clone())
            }
        }
    }

    fn code(&mut self, value: &Value<'_>) -> u32 {
        match value {
            Value::Unset => NULL,
            Value::Flag(flag) => u32::from(*flag),
            Value::Time(time) => self.dictionary.position(&time.unix_micros().to_le_bytes()),
            Value::Text(text) => self.dictionary.position(text.as_bytes()),
            Value::Code { name, .. } => self.dictionary.position(name.as_bytes()),
            Value::Guid(_) | Value::Decimal(_) => {
                let mut text = Vec::new();
                value.write_to(&mut text);
                self.dictionary.position(&text)
            }
        }
    }

    fn clear(&mut self) {
        self.dictionary.clear();
        self.codes.clear();
    }

    fn statistics(&self, form: Form, nulls: u64) -> Statistics {
        if matches!(form, Form::Time) {
            let times = || self.dictionary.values().filter_map(|time| Some(i64::from_le_bytes(time.try_into().ok()?)));
            return Statistics::int64(times().min(), times().max(), None, Some(nulls), false);
        }
        let (least, most) = self.dictionary.extremes().unzip();
        let text = |text: Option<&[u8]>| text.map(|text| ByteArray::from(text.to_vec()));
        Statistics::byte_array(text(least), text(most), None, Some(nulls), false)
    }
}

fn write_flags(flags: &[u32], chunk: &mut Chunk, compressors: &mut Compressors) -> Result<Statistics, ParquetError> {
    let mut page = Vec::new();
    for flags in flags.chunks(PAGE_RECORDS) {
        page.clear();
        hybrid::pack(flags, 1, &mut page);
        chunk.write_data(&[compressors.page(PageKind::Others, &page, flags.len(), Encoding::PLAIN)?])?;
    }
    let is_set = |flag: Option<&u32>| flag.map(|&flag| flag == 1);
    Ok(Statistics::boolean(is_set(flags.iter().min()), is_set(flags.iter().max()), None, Some(0), false))
}

// === impl Quantities ===

impl Quantities {
    fn push(&mut self, quantity: Decimal) -> Option<()> {
        if self.form.is_wide {
            let (digits, factor) = self.form.wide_units(quantity)?;
            let units = i256::from_parts(digits, 0).checked_mul(i256::from_parts(factor, 0))?;
            self.page.extend_from_slice(&units.to_be_bytes());
        } else {
            self.page.extend_from_slice(&self.form.units(quantity)?.to_be_bytes());
        }
        Some(())
    }

    fn end_page(&mut self, compressors: &mut Compressors) -> Result<(), ParquetError> {
        // None is negative.
        let (width, found) = if self.form.is_wide {
            (size_of::<i256>(), extremes(self.page.as_chunks().0, |units: &[u8; size_of::<i256>()]| *units))
        } else {
            (size_of::<i128>(), extremes(self.page.as_chunks().0, |units| u128::from_be_bytes(*units)))
        };
        let Some([least, most]) = found else { return Ok(()) };
        self.pages.push(compressors.page(PageKind::Units, &self.page, self.page.len() / width, Encoding::PLAIN)?);
        self.page.clear();
        self.extremes = Some(match self.extremes.take() {
            Some([least_before, most_before]) => [least.min(least_before), most.max(most_before)],
            None => [least, most],
        });
        Ok(())
    }

    fn clear(&mut self) {
        self.page.clear();
        self.pages.clear();
        self.extremes = None;
    }

    fn write(&mut self, chunk: &mut Chunk, compressors: &mut Compressors) -> Result<Statistics, ParquetError> {
        self.end_page(compressors)?;
        chunk.write_data(&self.pages)?;
        let [least, most] = match self.extremes.clone() {
            Some(extremes) => extremes.map(|units| Some(FixedLenByteArray::from(units))),
            None => [None, None],
        };
        Ok(Statistics::fixed_len_byte_array(least, most, None, Some(0), false))
    }
}

/// The least and the greatest one.
fn extremes<const N: usize, K: Ord>(units: &[[u8; N]], key: impl Fn(&[u8; N]) -> K) -> Option<[Vec<u8>; 2]> {
    let (least, most) = (units.iter().min_by_key(|units| key(units))?, units.iter().max_by_key(|units| key(units))?);
    Some([least.to_vec(), most.to_vec()])
}
