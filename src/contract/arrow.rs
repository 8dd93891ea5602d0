//! The columns of the report as Arrow has them: text as dictionaries, times as timestamps, quantities as exact decimals.

#[cfg(feature = "server")]
mod arrays;

use std::{collections::HashMap, sync::Arc};

#[cfg(feature = "columns")]
use arrow_array::{Array, Decimal128Array, Decimal256Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::model::{Column, DecimalForm, Form};
#[cfg(feature = "server")]
pub(crate) use arrays::{Texts, decimal_array, text_array};

/// The schema of detailed usage.
pub(crate) fn usage_schema(quantities: DecimalForm, metadata: HashMap<String, String>) -> SchemaRef {
    let field = |column: Column| {
        // Text that is empty is there: an asset without a name has an empty one.
        let is_nullable = !column.is_required() && !matches!(column.form(), Form::Text { .. });
        Field::new(column.name(), data_type(column, quantities), is_nullable)
    };
    Arc::new(Schema::new_with_metadata(Column::ALL.map(field).to_vec(), metadata))
}

fn data_type(column: Column, quantities: DecimalForm) -> DataType {
    match column.form() {
        Form::Guid | Form::Text { .. } => dictionary(DataType::Int32),
        Form::Code(_) => dictionary(DataType::Int8),
        Form::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Form::Decimal => decimal(quantities),
        Form::Flag => DataType::Boolean,
    }
}

/// Text whose values repeat.
pub(crate) fn dictionary(keys: DataType) -> DataType {
    DataType::Dictionary(Box::new(keys), Box::new(DataType::Utf8))
}

pub(crate) fn decimal(form: DecimalForm) -> DataType {
    // At most 38.
    let scale = form.scale.cast_signed();
    if form.is_wide {
        DataType::Decimal256(form.precision(), scale)
    } else {
        DataType::Decimal128(form.precision(), scale)
    }
}

/// The decimal of a row, with the places of its column; `None`: these are no decimals, or it is null.
#[cfg(feature = "columns")]
pub(crate) fn decimal_text(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let (narrow, wide) = (column.as_any().downcast_ref(), column.as_any().downcast_ref());
    let of_narrow = || narrow.map(|column: &Decimal128Array| column.value_as_string(row));
    let of_wide = || wide.map(|column: &Decimal256Array| column.value_as_string(row));
    of_narrow().or_else(of_wide)
}
