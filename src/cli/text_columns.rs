//! Tables of text as columns: what CSV has as texts, numbers and amounts.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use bigdecimal::BigDecimal;

use super::{
    CommandError,
    encoder::{Content, Encoding, Piece},
    output::{Lines, Rows, STDOUT},
    report_form::{Compression, FileFormat, ReportForm},
};
use crate::{
    contract::{decimal_array, text_array},
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
    let (content, piece) = if format == FileFormat::Jsonl {
        (Content::Lines, Piece::Lines(lines(rows)))
    } else {
        let batch = batch(rows)?;
        (Content::Batches(batch.schema()), Piece::Batch(batch))
    };
    let form = ReportForm { format, compression: Compression::None };
    let encoding = Encoding::start(form, content, Lines::new(out));
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
            Kind::Text => text_array(cells.iter().copied()),
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
    // Each has no more digits than the form.
    Ok(decimal_array(form, numbers.iter().map(Option::as_ref)).ok_or("a number has more digits than its column")?)
}
