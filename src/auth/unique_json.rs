//! JSON whose objects name each member once. RFC 7519, section 4, lets a reader refuse a token with a claim that is given
//! twice: readers that take the first and readers that take the last would see different callers.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// A value without doubles at any depth.
#[derive(Clone, Debug, PartialEq)]
struct UniqueValue(Value);

/// An object without doubles at any depth.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UniqueObject(pub(super) Map<String, Value>);

struct AnyValue;

impl<'de> Deserialize<'de> for UniqueObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match UniqueValue::deserialize(deserializer)? {
            UniqueValue(Value::Object(members)) => Ok(Self(members)),
            UniqueValue(_) => Err(D::Error::custom("not an object")),
        }
    }
}

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(UniqueValue(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let UniqueValue(value) = members.next_value()?;
            if values.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is given twice"));
            }
        }
        Ok(values.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_unless_a_member_is_given_twice() {
        let sound =
            r#"{"a": [1, -2, 0.5, "x", "é\n", null, true], "b": {"a": {}, "b": []}, "c": 18446744073709551615}"#;
        let expected: Value = serde_json::from_str(sound).unwrap();
        assert_eq!(Value::Object(serde_json::from_str::<UniqueObject>(sound).unwrap().0), expected);
        for doubled in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "\u0061": 1}"#,
            r#"{"a": {"b": 1, "b": 2}}"#,
            r#"{"a": [{"b": 1, "b": 1}]}"#,
        ] {
            let error = serde_json::from_str::<UniqueObject>(doubled).unwrap_err();
            assert!(error.to_string().starts_with("a member is given twice"), "{doubled}: {error}");
        }
        assert!(serde_json::from_str::<UniqueObject>("[]").is_err());
    }
}
