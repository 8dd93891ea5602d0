//! The value of a column, and how it is written.

use uuid::Uuid;

use super::{Decimal, UtcTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Guid(Uuid),
    /// Free text.
    Text(&'a str),
    /// A value of a closed set.
    Code {
        code: i16,
        name: &'static str,
    },
    Time(UtcTime),
    Decimal(Decimal),
    Flag(bool),
    Unset,
}

// === impl Value ===

impl Value<'_> {
    /// Appends the value as the report writes it, without quotes; nothing where it is unset.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Guid(id) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
            }
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Code { name, .. } => out.extend_from_slice(name.as_bytes()),
            Self::Time(time) => time.write_to(out),
            Self::Decimal(decimal) => decimal.write_to(out),
            Self::Flag(flag) => out.extend_from_slice(if *flag { b"TRUE" } else { b"FALSE" }),
            Self::Unset => {}
        }
    }
}
