//! The GUIDs of the contract, one type each, so that a tenant is never taken for an organization.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// A text is not a GUID in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID such as 0f8fad5b-d9cb-469f-a165-70867728950e")]
pub struct InvalidId;

/// Defines a GUID type. Read in upper or lower case, hyphenated; written in lower case.
macro_rules! guid {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // The other forms that the library reads (braces, URN, without hyphens) are not canonical.
                if text.len() != uuid::fmt::Hyphenated::LENGTH {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

guid!(OrganizationId);
guid!(TenantId);
guid!(MeterId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_read_and_lower_case_is_written() {
        let id: TenantId = "0F8FAD5B-d9cb-469f-a165-70867728950e".parse().expect("upper case is read");
        assert_eq!(id.to_string(), "0f8fad5b-d9cb-469f-a165-70867728950e");
        for text in ["", "0f8fad5bd9cb469fa16570867728950e", "{0f8fad5b-d9cb-469f-a165-70867728950e}", "x"] {
            assert_eq!(text.parse::<TenantId>(), Err(InvalidId), "{text:?}");
        }
    }
}
