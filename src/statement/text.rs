//! How values are written in documents: as text, each in one way.

use std::{fmt::Display, str::FromStr};

use bigdecimal::BigDecimal;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// A value from the one text that is written for it.
fn read<T, E: Error>(text: &str, parse: impl Fn(&str) -> Option<T>, write: impl Fn(&T) -> String) -> Result<T, E> {
    let value = parse(text).filter(|value| write(value) == text);
    value.ok_or_else(|| E::custom(format!("{text:?} is not as a statement writes it")))
}

/// A module for `#[serde(with)]`, and one for an `Option`.
macro_rules! text {
    ($module:ident, $optional:ident, <$($of:ident: $bound:path $(, $and:path)?)?>, $type:ty, $parse:expr, $write:expr) => {
        pub(super) mod $module {
            use super::*;

            pub(in crate::statement) fn serialize<$($of: $bound $(+ $and)?,)? S: Serializer>(
                value: &$type,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                to.serialize_str(&$write(value))
            }

            pub(in crate::statement) fn deserialize<'de, $($of: $bound $(+ $and)?,)? D: Deserializer<'de>>(
                from: D,
            ) -> Result<$type, D::Error> {
                read(&String::deserialize(from)?, $parse, $write)
            }
        }

        pub(super) mod $optional {
            use super::*;

            pub(in crate::statement) fn serialize<$($of: $bound $(+ $and)?,)? S: Serializer>(
                value: &Option<$type>,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                match value {
                    Some(value) => to.serialize_str(&$write(value)),
                    None => to.serialize_none(),
                }
            }

            pub(in crate::statement) fn deserialize<'de, $($of: $bound $(+ $and)?,)? D: Deserializer<'de>>(
                from: D,
            ) -> Result<Option<$type>, D::Error> {
                Option::<String>::deserialize(from)?.map(|text| read(&text, $parse, $write)).transpose()
            }
        }
    };
}

text!(plain, optional, <T: Display, FromStr>, T, |text| text.parse().ok(), |value: &T| value.to_string());
// Money shows the currency's minor digits, so their zeros stay.
text!(money, optional_money, <>, BigDecimal, |text| text.parse().ok(), BigDecimal::to_plain_string);
text!(quantity, optional_quantity, <>, BigDecimal, |text| text.parse().ok(), crate::model::plain);
text!(hex, optional_hex, <>, [u8; 32], crate::model::unhex, |bytes: &[u8; 32]| crate::model::hex(bytes));

/// Lists of days.
pub(super) mod days {
    use chrono::NaiveDate;
    use serde::ser::SerializeSeq as _;

    use super::{Deserialize as _, Deserializer, Serializer, read};

    pub(in crate::statement) fn serialize<S: Serializer>(days: &[NaiveDate], to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(days.len()))?;
        days.iter().try_for_each(|day| list.serialize_element(&day.to_string()))?;
        list.end()
    }

    pub(in crate::statement) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NaiveDate>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| read(text, |text| text.parse().ok(), NaiveDate::to_string)).collect()
    }
}
