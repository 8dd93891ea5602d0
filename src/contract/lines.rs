//! Lines of CSV from the bytes of records, as the columns declare them. What comes out is what [`CsvWriter`](super::CsvWriter)
//! makes of the same records; a test holds it to that.

use prost::Message as _;
use uuid::Uuid;

use super::{CsvFormat, Fields, WireValue};
use crate::model::{Column, Decimal, Form, Part, UtcTime, Value};

/// How many bytes at the front of a record's fields are those of a part, in the contract's order.
pub(crate) fn part_length(part: Part, record: &[u8]) -> usize {
    let mut fields = Fields::new(record);
    for column in part.columns() {
        fields.next_if(column.field());
    }
    record.len() - fields.rest.len()
}

/// Reads the fields of a part, each at most once and in order, and appends its columns to a line, each with a comma behind it.
/// `see` gets the values of the fields that are there. `None`: something is not as usual.
#[inline]
pub(crate) fn read_part<'a>(
    part: Part,
    fields: &mut Fields<'a>,
    format: CsvFormat,
    line: &mut Vec<u8>,
    mut see: impl FnMut(Column, WireValue<'a>),
) -> Option<()> {
    for &column in part.columns() {
        let value = fields.next_if(column.field());
        write_column(column, value, format, line)?;
        line.push(b',');
        if let Some(value) = value {
            see(column, value);
        }
    }
    Some(())
}

/// `None`: the value is missing or invalid, or not in its canonical form.
fn write_column(column: Column, value: Option<WireValue<'_>>, format: CsvFormat, line: &mut Vec<u8>) -> Option<()> {
    match (column.form(), value) {
        (Form::Flag, None | Some(WireValue::Varint(0))) => Value::Flag(false).write_to(line),
        (Form::Flag, Some(WireValue::Varint(_))) => Value::Flag(true).write_to(line),
        (Form::Code(_), None | Some(WireValue::Varint(0))) | (Form::Text { .. } | Form::Time, None) => {
            return (!column.is_required()).then_some(());
        }
        (Form::Code(name_of), Some(WireValue::Varint(code))) => {
            line.extend_from_slice(name_of(i32::try_from(code).ok()?)?.as_bytes());
        }
        (Form::Guid, Some(WireValue::Bytes(text))) => {
            let mut canonical = [0; uuid::fmt::Hyphenated::LENGTH];
            let id = Uuid::try_parse_ascii(text).ok()?;
            if id.hyphenated().encode_lower(&mut canonical).as_bytes() != text {
                return None;
            }
            line.extend_from_slice(text);
        }
        (Form::Text { .. }, Some(WireValue::Bytes(text))) => format.write_text(std::str::from_utf8(text).ok()?, line),
        (Form::Time, Some(WireValue::Bytes(encoded))) => {
            read_time(encoded)?.write_to(line);
        }
        (Form::Decimal, Some(WireValue::Bytes(digits))) => {
            write_decimal(digits, line)?;
        }
        _ => return None,
    }
    Some(())
}

/// The time in an encoded timestamp.
pub(crate) fn read_time(encoded: &[u8]) -> Option<UtcTime> {
    let time = prost_types::Timestamp::decode(encoded).ok()?;
    UtcTime::from_unix(time.seconds, time.nanos).ok()
}

/// Appends a decimal, and returns it.
pub(crate) fn write_decimal(digits: &[u8], line: &mut Vec<u8>) -> Option<Decimal> {
    let decimal = Decimal::from_plain(digits).ok()?;
    if Decimal::is_plain(digits) {
        line.extend_from_slice(digits);
    } else {
        decimal.write_to(line);
    }
    Some(decimal)
}
