//! Records as the bytes of their fields, as the columns declare them. What comes out is, byte for byte, what the generated code
//! makes; a test holds it to that.

use prost::Message as _;

use super::{Fields, WireValue};
use crate::model::{Column, Form, Part, Value};

// Wire types (Protocol Buffers' "Encoding").
const VARINT: u32 = 0;
pub(crate) const LENGTH_DELIMITED: u32 = 2;

/// Appends the fields of a part.
pub(crate) fn put_part(part: Part, values: &[Value<'_>], out: &mut Vec<u8>) {
    for (&column, value) in part.columns().iter().zip(values) {
        put_field(column, value, out);
    }
}

/// The name and the id among the encoded fields of an asset.
pub(crate) fn asset_texts(asset: &[u8]) -> Option<(&str, &str)> {
    let mut fields = Fields::new(asset);
    let mut text = |column: Column| fields.next_if(column.field()).map_or(Some(""), WireValue::text);
    Some((text(Column::AssetName)?, text(Column::AssetId)?))
}

/// Appends a field. Unset and default values are not written.
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
            // GUIDs and decimals have fewer than 128 bytes, so their length takes one byte.
            let length_at = out.len();
            out.push(0);
            value.write_to(out);
            out[length_at] = u8::try_from(out.len() - length_at - 1).unwrap_or_default();
        }
    }
}

/// Appends the field number and wire type of a column.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

    use super::*;
    use crate::{
        contract::{
            HEADER, PACKED_ASSET_INDEXES, PACKED_ASSETS, PACKED_DIMENSION_INDEXES, PACKED_DIMENSIONS,
            PACKED_QUANTITIES, PACKED_RECORDS, RECORDS, RESUME_TOKEN, SUMMARY, proto,
        },
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
        let numbers = |message_name: &str, expected: &[(&str, u32)]| {
            let fields = message(message_name).field;
            let found: Vec<_> = fields.iter().map(|field| (field.name(), field.number().unsigned_abs())).collect();
            assert_eq!(found, expected, "{message_name}");
        };
        numbers(
            "GetDetailedUsageResponse",
            &[
                ("header", HEADER),
                ("records", RECORDS),
                ("resume_token", RESUME_TOKEN),
                ("summary", SUMMARY),
                ("packed_records", PACKED_RECORDS),
            ],
        );
        numbers(
            "PackedRecords",
            &[
                ("assets", PACKED_ASSETS),
                ("dimensions", PACKED_DIMENSIONS),
                ("asset_indexes", PACKED_ASSET_INDEXES),
                ("dimension_indexes", PACKED_DIMENSION_INDEXES),
                ("quantities", PACKED_QUANTITIES),
            ],
        );
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
