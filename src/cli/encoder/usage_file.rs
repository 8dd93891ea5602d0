//! A file of Parquet with a report of usage, from its records: what they repeat is looked up once for each batch, and never for
//! each record. Row groups end with days, so that readers of some days skip the others.

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use parquet::{
    arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata},
    errors::ParquetError,
    file::writer::SerializedFileWriter,
    schema::types::ColumnDescPtr,
};

use super::{
    chunk::Compressors,
    parquet::{of_parquet, properties},
    row_group::RowGroup,
};
use crate::client::{UsageBatch, UsageColumns};

/// A row group has whole days, and at least so many records as long as there are more days.
const ROW_GROUP_RECORDS: usize = 16 << 10;
/// It is in memory until it is written, so a large day has several.
const MAX_ROW_GROUP_RECORDS: usize = 1 << 20;
/// The same for what the values of its columns take, each once.
const MAX_DICTIONARY_BYTES: usize = 32 << 20;
const WRITE_BYTES: usize = 256 << 10;

pub(super) struct UsageFile<W: Write + Send> {
    file: SerializedFileWriter<BufWriter<W>>,
    compressors: Compressors,
    columns: Vec<ColumnDescPtr>,
    /// What is not written yet.
    group: RowGroup,
    /// Of the record before.
    day: Option<i32>,
}

/// Where the assets, or the dimensions, of a batch are in the row group, once a record there has them.
struct Places(Vec<Option<u32>>);

// === impl UsageFile ===

impl<W: Write + Send> UsageFile<W> {
    pub(super) fn new(of: &UsageColumns, out: W) -> io::Result<Self> {
        let mut properties = properties(&of.schema).build();
        add_encoded_arrow_schema_to_metadata(&of.schema, &mut properties);
        let schema = ArrowSchemaConverter::new().convert(&of.schema).map_err(of_parquet)?;
        // Columns come in pieces of some KiB.
        let out = BufWriter::with_capacity(WRITE_BYTES, out);
        let file =
            SerializedFileWriter::new(out, schema.root_schema_ptr(), Arc::new(properties)).map_err(of_parquet)?;
        let columns = file.schema_descr().columns().to_vec();
        let group = RowGroup::new(of);
        Ok(Self { file, compressors: Compressors::new()?, columns, group, day: None })
    }

    pub(super) fn write(&mut self, batch: &UsageBatch) -> io::Result<()> {
        let days: Vec<i32> = batch.dimensions().iter().map(|dimensions| dimensions.start.day_number()).collect();
        let mut assets = Places::new(batch.asset_count());
        let mut dimensions = Places::new(days.len());
        for record in batch.records() {
            let (asset, of) = (record.asset as usize, record.dimensions as usize);
            let day = Some(days[of]);
            let has_enough = self.day != day && self.group.len() >= ROW_GROUP_RECORDS;
            if has_enough || self.group.len() == MAX_ROW_GROUP_RECORDS || self.group.memory() >= MAX_DICTIONARY_BYTES {
                self.end_group().map_err(of_parquet)?;
                assets.forget();
                dimensions.forget();
            }
            self.day = day;
            let asset = assets.get(asset, || {
                let (asset_type, id, name) = batch.asset(asset);
                self.group.add_asset(asset_type, id, name)
            });
            let of = dimensions.get(of, || self.group.add_dimensions(&batch.dimensions()[of]));
            let fits = self.group.push((asset, of), record.quantity, &mut self.compressors).map_err(of_parquet)?;
            if !fits {
                return Err(io::Error::other("a quantity has more digits than the column"));
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_group().and_then(|()| self.file.finish()).map(drop).map_err(of_parquet)
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        if self.group.len() == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        self.group.write(&self.columns, &mut self.compressors, &mut group)?;
        group.close()?;
        self.group.clear();
        Ok(())
    }
}

// === impl Places ===

impl Places {
    fn new(count: usize) -> Self {
        Self(vec![None; count])
    }

    fn forget(&mut self) {
        self.0.fill(None);
    }

    fn get(&mut self, of: usize, add: impl FnOnce() -> u32) -> u32 {
        *self.0[of].get_or_insert_with(add)
    }
}

#[cfg(test)]
mod tests;
