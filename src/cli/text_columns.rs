//! Tables of text as columns: what CSV has as texts, numbers and amounts.

use std::{
    collections::HashMap,
    io::{self, IsTerminal as _},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, Decimal128Array, Decimal256Array, DictionaryArray, Int64Array, RecordBatch, StringArray, types::Int32Type,
};
use arrow_buffer::i256;
use arrow_schema::{Field, Schema};
use bigdecimal::BigDecimal;

use super::{
    CommandError,
    encoder::{Encoding, Piece},
    output::{Lines, Rows, STDOUT},
    report_form::{Compression, FileFormat, ReportForm},
};
use crate::{
    contract::decimal,
    model::{DecimalForm, Digits},
};

/// What the texts of a column are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// In the form of columns of usage.
    Quantity,
    /// With as many places as there are.
    Amount,
    Count,
}

fn kind(name: &str) -> Kind {
    match name {
        "quantity" | "trialQuantity" | "tierFrom" | "tierTo" | "tierQuantity" => Kind::Quantity,
        "cost" | "amount" | "unitPrice" | "tierAmount" => Kind::Amount,
        "recordCount" => Kind::Count,
        _ => Kind::Text,
    }
}

/// The text of a cell; `None`: there is no value. Assets may have an empty name.
fn cell<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    (!text.is_empty() || name == "assetName").then_some(text)
}

/// Writes a table to standard output.
pub(super) async fn print(rows: &Rows, format: FileFormat) -> Result<(), CommandError> {
    let out = io::stdout();
    format.check_output(out.is_terminal())?;
    let (schema, piece) = if format == FileFormat::Jsonl {
        (None, Piece::Lines(lines(rows)))
    } else {
        let batch = batch(rows)?;
        (Some(batch.schema()), Piece::Batch(batch))
    };
    let form = ReportForm { format, compression: Compression::None };
    let encoding = Encoding::start(form, schema, Lines::new(out));
    encoding.write(piece).await;
    let (_, written) = encoding.finish(true).await?;
    Ok(written.map_err(|error| format!("{STDOUT}: {error}"))?)
}

/// An object a line. Quantities and amounts are texts, since many programs read JSON's numbers as floating point.
fn lines(rows: &Rows) -> Vec<u8> {
    let mut out = Vec::new();
    for row in &rows.rows {
        let value = |(name, text): (&&str, &String)| {
            let value = match (kind(name), cell(name, text)) {
                (_, None) => serde_json::Value::Null,
                (Kind::Count, Some(text)) => text.parse::<i64>().map_or(serde_json::Value::Null, Into::into),
                (_, Some(text)) => text.into(),
            };
            ((*name).to_owned(), value)
        };
        let object: serde_json::Map<_, _> = rows.headers.iter().zip(row).map(value).collect();
        out.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
        out.push(b'\n');
    }
    out
}

fn batch(rows: &Rows) -> Result<RecordBatch, CommandError> {
    let column = |(position, name): (usize, &&'static str)| {
        let cells = rows.rows.iter().map(|row| row.get(position).and_then(|text| cell(name, text)));
        let cells: Vec<Option<&str>> = cells.collect();
        let array: ArrayRef = match kind(name) {
            Kind::Text => text_column(&cells),
            Kind::Count => {
                Arc::new(cells.iter().map(|text| text.and_then(|text| text.parse().ok())).collect::<Int64Array>())
            }
            Kind::Quantity => decimal_column(name, &cells, Digits::quantity_form)?,
            Kind::Amount => decimal_column(name, &cells, Digits::amount_form)?,
        };
        Ok((Field::new(*name, array.data_type().clone(), true), array))
    };
    let columns = rows.headers.iter().enumerate().map(column).collect::<Result<Vec<_>, CommandError>>()?;
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn text_column(texts: &[Option<&str>]) -> ArrayRef {
    let (mut values, mut positions) = (Vec::new(), HashMap::new());
    let mut keys = Vec::with_capacity(texts.len());
    for text in texts {
        keys.push(text.map(|text| {
            *positions.entry(text).or_insert_with(|| {
                values.push(text);
                i32::try_from(values.len() - 1).unwrap_or(i32::MAX)
            })
        }));
    }
    Arc::new(DictionaryArray::<Int32Type>::new(keys.into(), Arc::new(StringArray::from(values))))
}

/// Decimals in the form that their digits need.
fn decimal_column(
    name: &str,
    texts: &[Option<&str>],
    form: fn(Digits) -> Option<DecimalForm>,
) -> Result<ArrayRef, CommandError> {
    let read = |text: &Option<&str>| text.map(str::parse::<BigDecimal>).transpose();
    let numbers = texts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let form = form(Digits::default().and(numbers.iter().flatten()));
    let form =
        form.ok_or_else(|| format!("the column {name} has numbers with more digits than columns can have: use CSV"))?;
    let units = |number: &Option<BigDecimal>| {
        number.as_ref().map(|number| number.with_scale(form.scale.into()).into_bigint_and_exponent().0)
    };
    // Each has no more digits than the form.
    if form.is_wide {
        let units = numbers.iter().map(|number| units(number).and_then(|units| i256::from_string(&units.to_string())));
        return Ok(Arc::new(units.collect::<Decimal256Array>().with_data_type(decimal(form))));
    }
    let units = numbers.iter().map(|number| units(number).and_then(|units| i128::try_from(units).ok()));
    Ok(Arc::new(units.collect::<Decimal128Array>().with_data_type(decimal(form))))
}
