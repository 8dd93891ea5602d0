//! A column of a row group, as pages.

use std::io::{self, Write};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    column::{
        page::{CompressedPage, Page, PageWriter as _},
        writer::ColumnCloseResult,
    },
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, PageEncodingStats},
        statistics::Statistics,
        writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};
use zstd::bulk::Compressor;

/// Dictionaries leave little to compress.
pub(super) const ZSTD_LEVEL: i32 = 1;
/// Looks at every eighth byte: units have 16, and what repeats from one to the next begins there. Other levels leave more of them.
const ZSTD_LEVEL_OF_UNITS: i32 = -7;

/// Compresses pages.
pub(super) struct Compressors {
    units: Compressor<'static>,
    others: Compressor<'static>,
}

/// What a page has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    /// Decimals, or other values that hardly repeat.
    Units,
    /// Values that repeat, or runs of them.
    Others,
}

/// A page of a column, compressed.
pub(super) struct DataPage {
    bytes: Bytes,
    uncompressed: usize,
    rows: usize,
    encoding: Encoding,
}

/// The values of a column, compressed.
#[derive(Clone)]
pub(super) struct DictionaryPage {
    bytes: Bytes,
    uncompressed: usize,
    count: usize,
}

/// A column that is being written.
pub(super) struct Chunk {
    out: TrackedWrite<Vec<u8>>,
    uncompressed: usize,
    /// Where pages begin.
    dictionary: Option<i64>,
    data: Option<i64>,
    rows: usize,
    pages: Vec<PageEncodingStats>,
}

// === impl Compressors ===

impl Compressors {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { units: Compressor::new(ZSTD_LEVEL_OF_UNITS)?, others: Compressor::new(ZSTD_LEVEL)? })
    }

    /// A page of so many records, as its encoding has them.
    pub(super) fn page(
        &mut self,
        kind: PageKind,
        page: &[u8],
        rows: usize,
        encoding: Encoding,
    ) -> Result<DataPage, ParquetError> {
        Ok(DataPage { bytes: self.compress(kind, page)?, uncompressed: page.len(), rows, encoding })
    }

    /// Each value as plain encoding has it.
    pub(super) fn dictionary_page(&mut self, values: &[u8], count: usize) -> Result<DictionaryPage, ParquetError> {
        Ok(DictionaryPage { bytes: self.compress(PageKind::Others, values)?, uncompressed: values.len(), count })
    }

    fn compress(&mut self, kind: PageKind, page: &[u8]) -> Result<Bytes, ParquetError> {
        let compressor = match kind {
            PageKind::Units => &mut self.units,
            PageKind::Others => &mut self.others,
        };
        Ok(compressor.compress(page).map_err(|error| ParquetError::External(Box::new(error)))?.into())
    }
}

// === impl Chunk ===

impl Chunk {
    pub(super) fn new() -> Self {
        let out = TrackedWrite::new(Vec::new());
        Self { out, uncompressed: 0, dictionary: None, data: None, rows: 0, pages: Vec::new() }
    }

    /// Writes the values that pages name by their positions. It must be the first page.
    pub(super) fn write_dictionary(&mut self, page: DictionaryPage) -> Result<(), ParquetError> {
        let DictionaryPage { bytes: buf, uncompressed, count } = page;
        let page =
            Page::DictionaryPage { buf, num_values: number(count)?, encoding: Encoding::PLAIN, is_sorted: false };
        self.dictionary = Some(self.write(page, uncompressed)?);
        Ok(())
    }

    pub(super) fn write_data(&mut self, pages: &[DataPage]) -> Result<(), ParquetError> {
        for page in pages {
            let of_page = Page::DataPage {
                buf: page.bytes.clone(),
                num_values: number(page.rows)?,
                encoding: page.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let start = self.write(of_page, page.uncompressed)?;
            self.data.get_or_insert(start);
            self.rows += page.rows;
        }
        Ok(())
    }

    /// Ends it as the next column of a row group.
    pub(super) fn finish<W: Write + Send>(
        self,
        column: ColumnDescPtr,
        statistics: Statistics,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let mut encodings: Vec<Encoding> = self.pages.iter().map(|page| page.encoding).collect();
        // That of levels.
        encodings.push(Encoding::RLE);
        let bytes = Bytes::from(self.out.into_inner()?);
        let metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_encodings(encodings)
            .set_page_encoding_stats(self.pages)
            .set_num_values(number(self.rows)?)
            .set_total_compressed_size(number(bytes.len())?)
            .set_total_uncompressed_size(number(self.uncompressed)?)
            .set_dictionary_page_offset(self.dictionary)
            .set_data_page_offset(self.data.unwrap_or_default())
            .set_statistics(statistics)
            .build()?;
        let result = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        group.append_column(&bytes, result)
    }

    /// Writes a page; returns where it begins.
    fn write(&mut self, page: Page, uncompressed: usize) -> Result<i64, ParquetError> {
        let (kind, encoding) = (page.page_type(), page.encoding());
        let written = SerializedPageWriter::new(&mut self.out).write_page(CompressedPage::new(page, uncompressed))?;
        self.uncompressed += written.uncompressed_size;
        match self.pages.last_mut() {
            Some(last) if (last.page_type, last.encoding) == (kind, encoding) => last.count += 1,
            _ => self.pages.push(PageEncodingStats { page_type: kind, encoding, count: 1 }),
        }
        number(usize::try_from(written.offset).unwrap_or(usize::MAX))
    }
}

/// A number as the format has it.
fn number<T: TryFrom<usize>>(number: usize) -> Result<T, ParquetError> {
    T::try_from(number).map_err(|_| ParquetError::General(format!("{number} is more than a page may have")))
}
