//! Files of Parquet: what they say of themselves, and those of tables.

use std::io::{self, Write};

use arrow_schema::SchemaRef;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{WriterProperties, WriterPropertiesBuilder},
    },
};

use super::chunk::ZSTD_LEVEL;

/// Its texts are in memory until it is written.
const MAX_ROW_GROUP_ROWS: usize = 1 << 17;

/// Begins a file of a table.
pub(super) fn table<W: Write + Send>(schema: &SchemaRef, out: W) -> io::Result<ArrowWriter<W>> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(of_parquet)?;
    let properties = properties(schema)
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(MAX_ROW_GROUP_ROWS))
        .build();
    ArrowWriter::try_new(out, SchemaRef::clone(schema), Some(properties)).map_err(of_parquet)
}

/// What a file says of itself.
pub(super) fn properties(schema: &SchemaRef) -> WriterPropertiesBuilder {
    let metadata = schema.metadata().iter();
    let metadata = metadata.map(|(name, value)| KeyValue::new(name.clone(), value.clone())).collect();
    WriterProperties::builder()
        .set_created_by(concat!("secure-connect-reports ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(metadata))
}

pub(super) fn of_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}
