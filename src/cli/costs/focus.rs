//! `costs --format focus`: bills in the columns of FOCUS.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _},
};

use arrow_array::{Array, RecordBatch, StringArray, TimestampMicrosecondArray, cast::AsArray as _, types::Int32Type};
use arrow_schema::DataType;
use chrono::DateTime;

use super::find;
use crate::{
    cli::{
        CommandError,
        args::CostsArgs,
        encoder::{Content, Encoding, Piece},
        output::{Lines, STDOUT, note, put_csv_line},
        report_form::{Compression, FileFormat, ReportForm},
    },
    client::{Client, FocusDownload, FocusGaps, FocusQuery},
    contract::{CsvFormat, decimal_text},
    model::{CostGroup, MonthRange, UtcTime},
};

/// Lines of CSV are written when at least this much is buffered.
const WRITE_BYTES: usize = 64 << 10;

/// How bills are written.
#[derive(Clone, Copy)]
pub(super) struct Focus {
    file: FileFormat,
    csv: CsvFormat,
    by_asset: bool,
}

// === impl Focus ===

impl Focus {
    /// `None`: another form is asked for.
    pub(super) fn of(args: &CostsArgs) -> Result<Option<Self>, CommandError> {
        let Some(file) = args.format.focus() else { return Ok(None) };
        let csv = args.breakdown.csv_format();
        if args.current {
            return Err("--current is not for FOCUS, which has what was billed".into());
        }
        if args.breakdown.tiers {
            return Err("--tiers is not for FOCUS, whose rows are by tier anyway".into());
        }
        if csv.neutralize_formulas && file != FileFormat::Csv {
            return Err("--neutralize-formulas is of CSV".into());
        }
        if args.organization.is_none() && file != FileFormat::Csv {
            return Err("--format focus-parquet needs --organization: a file is of one".into());
        }
        let by_asset = match args.breakdown.breakdown()? {
            None => false,
            Some((groups, filter)) if groups.iter().eq([CostGroup::Asset]) && filter.is_empty() => true,
            Some((_, filter)) if !filter.is_empty() => {
                return Err(
                    "FOCUS has all rows of a bill: leave out --asset-type, --asset-id, --meter and --region".into()
                );
            }
            Some(_) => return Err("FOCUS has rows by line, or with `--by asset` alone by asset".into()),
        };
        Ok(Some(Self { file, csv, by_asset }))
    }

    /// Writes the bills of an organization, or of all that the caller may see.
    pub(super) async fn print(
        self,
        client: &mut Client,
        args: &CostsArgs,
        months: MonthRange,
    ) -> Result<(), CommandError> {
        let out = io::stdout();
        self.file.check_output(out.is_terminal())?;
        let (organizations, tenant_id) = match &args.organization {
            Some(name) => {
                let (organization, tenant) = find(client, name, args.tenant.as_deref()).await?;
                (vec![organization], tenant)
            }
            None => {
                let organizations = client.organizations().await?;
                let ids = organizations.iter().map(|organization| organization.organization_id.parse());
                (ids.collect::<Result<_, _>>()?, None)
            }
        };
        if organizations.is_empty() {
            return Err("there is no organization that you may see".into());
        }
        let mut writer: Option<Encoding<Lines<io::Stdout>>> = None;
        let mut gaps = FocusGaps::default();
        let mut read = Ok(true);
        for organization_id in organizations {
            let (as_of, version, by_asset) = (args.as_of, args.focus_version, self.by_asset);
            let query = FocusQuery { organization_id, tenant_id, months, as_of, version, by_asset };
            let mut bills = match client.focus_costs(&query).await {
                Ok(bills) => bills,
                Err(error) => {
                    read = Err(error.into());
                    break;
                }
            };
            let is_first = writer.is_none();
            let writer = writer.get_or_insert_with(|| {
                let form = ReportForm { format: self.file, compression: Compression::None };
                let is_csv = self.file == FileFormat::Csv;
                let content = if is_csv { Content::Lines } else { Content::Batches(bills.schema().clone()) };
                Encoding::start(form, content, Lines::new(io::stdout()))
            });
            read = self.write(&mut bills, writer, is_first).await;
            gaps.unpriced_lines += bills.gaps().unpriced_lines;
            gaps.incomplete_reports += bills.gaps().incomplete_reports;
            if !matches!(read, Ok(true)) {
                break;
            }
        }
        if let Some(writer) = writer {
            let (_, written) = writer.finish(read.is_ok()).await?;
            written.map_err(|error| format!("{STDOUT}: {error}"))?;
        }
        warn(gaps);
        read.map(drop)
    }

    /// Writes the bills of an organization. `false`: the writer has failed, and says why.
    async fn write(
        self,
        bills: &mut FocusDownload,
        writer: &Encoding<Lines<io::Stdout>>,
        has_header: bool,
    ) -> Result<bool, CommandError> {
        let mut lines = Vec::new();
        if has_header && self.file == FileFormat::Csv {
            let names = bills.schema().fields().iter().map(|field| field.name().as_str());
            put_csv_line(names, self.csv, &mut lines);
        }
        while let Some(batch) = bills.next().await? {
            let goes_on = if self.file == FileFormat::Csv {
                put_lines(&batch, self.csv, &mut lines)?;
                lines.len() < WRITE_BYTES || writer.write(Piece::Lines(std::mem::take(&mut lines))).await
            } else {
                writer.write(Piece::Batch(batch)).await
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(lines.is_empty() || writer.write(Piece::Lines(lines)).await)
    }
}

fn warn(gaps: FocusGaps) {
    match gaps.unpriced_lines {
        0 => {}
        1 => note("warning: no price covers 1 line, which has no row; `costs` lists it"),
        count => note(&format!("warning: no price covers {count} lines, which have no rows; `costs` lists them")),
    }
    match gaps.incomplete_reports {
        0 => {}
        1 => note("warning: days are missing in 1 report of a tenant; `costs` lists them"),
        count => note(&format!("warning: days are missing in {count} reports of tenants; `costs` lists them")),
    }
}

/// Appends the rows of a batch as lines of CSV.
fn put_lines(batch: &RecordBatch, format: CsvFormat, out: &mut Vec<u8>) -> Result<(), String> {
    let columns = batch.columns().iter().map(|column| Cells::of(column.as_ref()));
    let columns: Vec<Cells<'_>> = columns.collect::<Option<_>>().ok_or("the server has columns of an unknown type")?;
    for row in 0..batch.num_rows() {
        let cells: Vec<Cow<'_, str>> = columns.iter().map(|column| column.get(row)).collect::<Result<_, _>>()?;
        put_csv_line(cells.iter().map(Cow::as_ref), format, out);
    }
    Ok(())
}

/// A column that can be written as text.
enum Cells<'a> {
    Text(&'a arrow_array::DictionaryArray<Int32Type>, &'a StringArray),
    Time(&'a TimestampMicrosecondArray),
    Decimal(&'a dyn Array),
}

// === impl Cells ===

impl<'a> Cells<'a> {
    fn of(column: &'a dyn Array) -> Option<Self> {
        if let Some(texts) = column.as_dictionary_opt::<Int32Type>() {
            return Some(Self::Text(texts, texts.values().as_any().downcast_ref()?));
        }
        match column.data_type() {
            DataType::Decimal128(..) | DataType::Decimal256(..) => Some(Self::Decimal(column)),
            _ => column.as_any().downcast_ref().map(Self::Time),
        }
    }

    /// Nothing where it is null.
    fn get(&self, row: usize) -> Result<Cow<'a, str>, String> {
        Ok(match self {
            Self::Text(texts, values) => texts.key(row).map_or("", |key| values.value(key)).into(),
            Self::Time(times) if times.is_valid(row) => time(times.value(row))?.into(),
            Self::Time(_) => "".into(),
            Self::Decimal(decimals) => decimal_text(*decimals, row).map_or_else(String::new, trimmed).into(),
        })
    }
}

/// The last month of the year 9999 ends in the next one.
fn time(micros: i64) -> Result<String, String> {
    let time = DateTime::from_timestamp_micros(micros).ok_or("the server sent a time that is none")?;
    Ok(UtcTime::from_chrono(time).to_string())
}

/// Without zeros at its end, but with a decimal point: readers of CSV take whole numbers for another type.
fn trimmed(mut decimal: String) -> String {
    if decimal.contains('.') {
        decimal.truncate(decimal.trim_end_matches('0').len());
    } else {
        decimal.push('.');
    }
    if decimal.ends_with('.') {
        decimal.push('0');
    }
    decimal
}
