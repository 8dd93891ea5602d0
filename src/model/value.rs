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
    /// The value as the report writes it, where it is at hand as text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Code { name, .. } => Some(name),
            Self::Flag(true) => Some("TRUE"),
            Self::Flag(false) => Some("FALSE"),
            Self::Unset => Some(""),
            Self::Guid(_) | Self::Time(_) | Self::Decimal(_) => None,
        }
    }

    /// Appends the value as the report writes it, without quotes; nothing where it is unset.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Guid(id) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
            }
            Self::Time(time) => time.write_to(out),
            Self::Decimal(decimal) => decimal.write_to(out),
            Self::Text(_) | Self::Code { .. } | Self::Flag(_) | Self::Unset => {
                out.extend_from_slice(self.as_text().unwrap_or_default().as_bytes());
            }
        }
    }
}
