//! The closed sets of the report. Their codes are those of the contract and, where it has them, of the database; their order is
//! the report's.

use std::{fmt, str::FromStr};

use super::Value;

/// A text is not the name of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of {expected}")]
pub struct InvalidName {
    expected: String,
}

/// Defines an enum with names and codes. Names are read case-insensitively.
macro_rules! closed_set {
    ($(#[$meta:meta])* $set:ident { $($(#[$value_meta:meta])* $value:ident = $code:literal $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $set {
            $($(#[$value_meta])* $value = $code),+
        }

        impl $set {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The greatest number.
            pub const MAX_CODE: i16 = {
                let codes = [$($code),+];
                let (mut max, mut index) = (0, 0);
                while index < codes.len() {
                    if codes[index] > max {
                        max = codes[index];
                    }
                    index += 1;
                }
                max
            };

            pub fn value(self) -> Value<'static> {
                Value::Code { code: self.code(), name: self.as_str() }
            }

            /// The name, as it stands in the CSV.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $name),+ }
            }

            /// The number in the contract and in the database, 1 or more.
            pub fn code(self) -> i16 {
                self as i16
            }

            /// The value of a number in the contract or in the database.
            pub fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$value),)+ _ => None }
            }

            /// The name of a number in the contract or in the database.
            pub fn name_of(code: i32) -> Option<&'static str> {
                Self::from_code(code).map(Self::as_str)
            }
        }

        impl FromStr for $set {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
                    InvalidName { expected: [$($name),+].join(", ") }
                })
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

closed_set! {
    /// The type of the asset that generated the usage.
    AssetType {
        /// A person.
        User = 1 "USER",
        /// A transport between gateways.
        Transport = 2 "TRANSPORT",
        /// The tenant itself.
        Tenant = 3 "TENANT",
        Gateway = 4 "GATEWAY",
        /// A device or server at the end of a connection.
        Endpoint = 5 "ENDPOINT",
    }
}

closed_set! {
    /// Where usage is billed.
    BillingRegion {
        /// Africa.
        Af = 1 "AF",
        /// Asia and the Pacific.
        Ap = 2 "AP",
        /// Europe.
        Eu = 3 "EU",
        /// North America.
        Na = 4 "NA",
    }
}

closed_set! {
    /// The platform that hosts a device; for bandwidth meters only.
    Platform {
        Mcp = 1 "mcp",
        Azure = 2 "azure",
    }
}

closed_set! {
    /// What lines of a bill are shared among.
    CostGroup {
        /// The type and id of an asset.
        Asset = 1 "asset",
        /// The UTC date of a record's start.
        UsageDay = 2 "day",
        AssetType = 3 "asset-type",
        Platform = 4 "platform",
    }
}

closed_set! {
    /// A version of FOCUS, the FinOps Open Cost and Usage Specification.
    FocusVersion {
        V1_2 = 1 "1.2",
        V1_4 = 2 "1.4",
    }
}

closed_set! {
    /// The state of a tenant.
    TenantStatus {
        /// Being set up.
        Pending = 1 "PENDING",
        /// Set-up failed.
        Failed = 2 "FAILED",
        /// In service.
        Normal = 3 "NORMAL",
        Suspended = 4 "SUSPENDED",
        Cancelled = 5 "CANCELLED",
    }
}
