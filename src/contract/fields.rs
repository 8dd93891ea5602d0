//! Records as the bytes of their fields, as the columns declare them, and lines of CSV from such bytes. What comes out is, byte
//! for byte, what the generated code and [`CsvWriter`](super::CsvWriter) make; tests hold it to that.

use prost::Message as _;
use uuid::Uuid;

use super::{CsvFormat, Fields, WireValue};
use crate::model::{Column, Decimal, Form, Part, UtcTime, Value};

/// Numbers of the fields of `GetDetailedUsageResponse`.
pub(crate) const RECORDS: u32 = 2;
pub(crate) const RESUME_TOKEN: u32 = 3;
pub(crate) const SUMMARY: u32 = 4;

// Wire types (Protocol Buffers' "Encoding").
const VARINT: u32 = 0;
pub(crate) const LENGTH_DELIMITED: u32 = 2;

/// The most columns that a part may have.
const PART_COLUMNS: usize = 8;

/// The values of a part's columns; `None`: the field is not there.
pub(crate) struct PartValues<'a> {
    first: usize,
    values: [Option<WireValue<'a>>; PART_COLUMNS],
}

/// Appends the fields of a part.
pub(crate) fn put_part(part: Part, values: &[Value<'_>], out: &mut Vec<u8>) {
    for (&column, value) in part.columns().iter().zip(values) {
        put_field(column, value, out);
    }
}

/// Appends a field. What is unset, and what a reader takes for unset, is not written.
fn put_field(column: Column, value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unset | Value::Text("") | Value::Flag(false) => {}
        Value::Flag(true) => {
            put_key(column, out);
            out.push(1);
        }
        Value::Code { code, .. } => {
            put_key(column, out);
            put_varint(code.unsigned_abs().into(), out);
        }
        Value::Time(time) => {
            put_key(column, out);
            let (seconds, nanos) = time.unix_seconds_and_nanos();
            let time = prost_types::Timestamp { seconds, nanos };
            put_varint(time.encoded_len() as u64, out);
            out.extend_from_slice(&time.encode_to_vec());
        }
        Value::Text(text) => {
            put_key(column, out);
            put_varint(text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Guid(_) | Value::Decimal(_) => {
            put_key(column, out);
            // A GUID and a decimal have fewer than 128 bytes, so their length is one.
            let length_at = out.len();
            out.push(0);
            value.write_to(out);
            out[length_at] = u8::try_from(out.len() - length_at - 1).unwrap_or_default();
        }
    }
}

/// Appends what stands before the value of a column.
pub(crate) fn put_key(column: Column, out: &mut Vec<u8>) {
    let wire_type = match column.form() {
        Form::Code(_) | Form::Flag => VARINT,
        Form::Guid | Form::Text { .. } | Form::Time | Form::Decimal => LENGTH_DELIMITED,
    };
    put_varint((column.field() << 3 | wire_type).into(), out);
}

pub(crate) fn put_varint(value: u64, out: &mut Vec<u8>) {
    if let Ok(byte @ ..0x80) = u8::try_from(value) {
        return out.push(byte);
    }
    prost::encoding::encode_varint(value, out);
}

/// How many bytes at the front of a record's fields are those of a part. `None`: they are not as the contract has them.
pub(crate) fn part_length(part: Part, record: &[u8]) -> Option<usize> {
    let mut fields = Fields::new(record);
    for column in part.columns() {
        let mut ahead = fields.clone();
        if ahead.next()?.0 == column.field() {
            fields = ahead;
        }
    }
    Some(record.len() - fields.rest.len())
}

/// Reads the fields of a part, each at most once and in order, and appends its columns to a line, each with a comma behind it.
/// `None`: something is not as usual.
pub(crate) fn read_part<'a>(
    part: Part,
    fields: &mut Fields<'a>,
    format: CsvFormat,
    line: &mut Vec<u8>,
) -> Option<PartValues<'a>> {
    let columns = part.columns();
    let mut values = [None; PART_COLUMNS];
    for (&column, slot) in columns.iter().zip(&mut values) {
        let mut ahead = fields.clone();
        if let Some((number, value)) = ahead.next()
            && number == column.field()
        {
            *fields = ahead;
            *slot = Some(value);
        }
        write_column(column, *slot, format, line)?;
        line.push(b',');
    }
    Some(PartValues { first: columns.first()?.index(), values })
}

/// `None`: there is no such value, or it is not written as usual.
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
            let time = prost_types::Timestamp::decode(encoded).ok()?;
            UtcTime::from_unix(time.seconds, time.nanos).ok()?.write_to(line);
        }
        (Form::Decimal, Some(WireValue::Bytes(digits))) => {
            write_decimal(digits, line)?;
        }
        _ => return None,
    }
    Some(())
}

/// Appends a decimal, and says what it is.
pub(crate) fn write_decimal(digits: &[u8], line: &mut Vec<u8>) -> Option<Decimal> {
    let decimal = Decimal::from_plain(digits).ok()?;
    if Decimal::is_plain(digits) {
        line.extend_from_slice(digits);
    } else {
        decimal.write_to(line);
    }
    Some(decimal)
}

// === impl PartValues ===

impl<'a> PartValues<'a> {
    /// A column of the part.
    pub(crate) fn get(&self, column: Column) -> Option<WireValue<'a>> {
        self.values.get(column.index().checked_sub(self.first)?).copied().flatten()
    }

    pub(crate) fn text(&self, column: Column) -> Option<&'a str> {
        match self.get(column)? {
            WireValue::Bytes(text) => std::str::from_utf8(text).ok(),
            WireValue::Varint(_) => None,
        }
    }

    /// 0: unset.
    pub(crate) fn varint(&self, column: Column) -> Option<u64> {
        match self.get(column) {
            None => Some(0),
            Some(WireValue::Varint(value)) => Some(value),
            Some(WireValue::Bytes(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

    use super::*;
    use crate::{
        contract::proto,
        model::{arbitrary, tenant_values},
    };

    fn message(name: &str) -> prost_types::DescriptorProto {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("descriptors");
        let mut messages = files.file.into_iter().flat_map(|file| file.message_type);
        messages.find(|message| message.name() == name).expect("a message of the contract")
    }

    #[test]
    fn the_columns_are_the_fields_of_the_contract() {
        let fields = message("UsageRecord").field;
        assert_eq!(fields.len(), Column::COUNT);
        for (field, column) in fields.iter().zip(Column::ALL) {
            let found = (field.json_name(), field.number().unsigned_abs());
            assert_eq!(found, (column.name(), column.field()));
            let wanted = match column.form() {
                Form::Guid | Form::Text { .. } | Form::Decimal => Type::String,
                Form::Code(_) => Type::Enum,
                Form::Time => Type::Message,
                Form::Flag => Type::Bool,
            };
            assert_eq!(field.r#type(), wanted, "{column:?}");
            assert_eq!(field.type_name() == ".google.protobuf.Timestamp", matches!(column.form(), Form::Time));
        }
    }

    #[test]
    fn the_numbers_of_the_response_are_those_of_the_contract() {
        let fields = message("GetDetailedUsageResponse").field;
        for (name, number) in [("records", RECORDS), ("resume_token", RESUME_TOKEN), ("summary", SUMMARY)] {
            let field = fields.iter().find(|field| field.name() == name).expect(name);
            assert_eq!(field.number().unsigned_abs(), number, "{name}");
        }
    }

    proptest! {
        #[test]
        fn fields_are_those_of_the_generated_code(records in arbitrary::records()) {
            for record in &records {
                let mut fields = Vec::new();
                put_part(Part::Tenant, &tenant_values(record.organization_id, record.tenant_id), &mut fields);
                put_part(Part::Asset, &record.asset.values(), &mut fields);
                put_part(Part::Meter, &record.dimensions.meter.values(), &mut fields);
                put_part(Part::Period, &record.dimensions.period(), &mut fields);
                put_part(Part::Quantity, &[Value::Decimal(record.quantity)], &mut fields);
                put_part(Part::Attributes, &record.dimensions.attributes(), &mut fields);
                prop_assert_eq!(fields, proto::UsageRecord::from(record).encode_to_vec());
            }
        }
    }
}
