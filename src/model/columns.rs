//! The columns of the report, each declared once: everything that reads or writes records follows this table.

use super::{AssetType, BillingRegion, Platform};

/// The maximum length of an asset id, in bytes of UTF-8.
pub const MAX_ASSET_ID_BYTES: usize = 512;
/// The longest asset name, in bytes of UTF-8. With the id it fits an index row of PostgreSQL (2704 bytes).
pub const MAX_ASSET_NAME_BYTES: usize = 1024;
/// The maximum length of a meter's name, in bytes of UTF-8.
pub const MAX_METER_NAME_BYTES: usize = 128;

/// What the values of a column are. It settles their text in CSV and their wire type in the contract.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Lower case with hyphens; a `string`.
    Guid,
    /// Free text of so many bytes of UTF-8; a `string`.
    Text { min_bytes: usize, max_bytes: usize },
    /// A name of a closed set, by its code; an `enum`.
    Code(fn(i32) -> Option<&'static str>),
    /// ISO 8601 in UTC; a `google.protobuf.Timestamp`.
    Time,
    /// Digits as measured; a `string`.
    Decimal,
    /// `TRUE` or `FALSE`; a `bool`.
    Flag,
}

/// Columns whose values repeat together from record to record: they are encoded, and written to lines, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Tenant,
    Asset,
    Meter,
    Period,
    Quantity,
    Attributes,
}

/// Whether a column may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

struct Declaration {
    name: &'static str,
    field: u32,
    since: i16,
    form: Form,
    presence: Presence,
    part: Part,
}

/// Defines the columns in the report's order. Those of a part stand together.
macro_rules! columns {
    ($($column:ident $name:literal $field:literal $since:literal $part:ident $presence:ident $form:expr;)+) => {
        /// A column of the report. Ordered as the report is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Column {
            $($column),+
        }

        impl Column {
            /// Every column, in the report's order.
            pub const ALL: [Self; [$(Self::$column),+].len()] = [$(Self::$column),+];
            pub const NAMES: [&'static str; Self::COUNT] = [$($name),+];

        }

        static DECLARATIONS: [Declaration; Column::COUNT] = [
            $(Declaration {
                name: $name,
                field: $field,
                since: $since,
                form: $form,
                presence: Presence::$presence,
                part: Part::$part,
            }),+
        ];
    };
}

const ASSET_NAME: Form = Form::Text { min_bytes: 0, max_bytes: MAX_ASSET_NAME_BYTES };
const ASSET_ID: Form = Form::Text { min_bytes: 1, max_bytes: MAX_ASSET_ID_BYTES };
const METER_NAME: Form = Form::Text { min_bytes: 1, max_bytes: MAX_METER_NAME_BYTES };

columns! {
    // Column, its name, the number of its field, its version, part, presence and form.
    OrganizationId  "organizationId"   1  1  Tenant      Required  Form::Guid;
    TenantId        "tenantId"         2  1  Tenant      Required  Form::Guid;
    AssetName       "assetName"        3  1  Asset       Optional  ASSET_NAME;
    AssetId         "assetId"          4  1  Asset       Required  ASSET_ID;
    AssetType       "assetType"        5  1  Asset       Required  Form::Code(AssetType::name_of);
    MeterName       "meterName"        6  1  Meter       Required  METER_NAME;
    MeterId         "meterId"          7  1  Meter       Required  Form::Guid;
    Start           "start"            8  1  Period      Required  Form::Time;
    End             "end"              9  1  Period      Required  Form::Time;
    Quantity        "quantity"        10  1  Quantity    Required  Form::Decimal;
    BillingRegion   "billingRegion"   11  1  Attributes  Required  Form::Code(BillingRegion::name_of);
    Platform        "platform"        12  1  Attributes  Optional  Form::Code(Platform::name_of);
    Trial           "trial"           13  1  Attributes  Required  Form::Flag;
    TrialExpiry     "trialExpiry"     14  1  Attributes  Optional  Form::Time;
}

impl Column {
    pub const COUNT: usize = Self::ALL.len();

    /// The header in CSV, and the field's JSON name in the contract.
    pub const fn name(self) -> &'static str {
        DECLARATIONS[self as usize].name
    }

    /// The number of the field in `UsageRecord`.
    pub const fn field(self) -> u32 {
        DECLARATIONS[self as usize].field
    }

    /// The first version of the canonical form of records (see [`DigestVersion`](super::DigestVersion)) that has it.
    pub const fn since(self) -> i16 {
        DECLARATIONS[self as usize].since
    }

    pub const fn form(self) -> Form {
        DECLARATIONS[self as usize].form
    }

    /// Whether every record must have a value.
    pub const fn is_required(self) -> bool {
        matches!(DECLARATIONS[self as usize].presence, Presence::Required)
    }

    pub const fn part(self) -> Part {
        DECLARATIONS[self as usize].part
    }

    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Part {
    /// The columns of the part, in the report's order.
    pub const fn columns(self) -> &'static [Column] {
        const RANGES: [(usize, usize); 6] = ranges();
        const ALL: &[Column] = &Column::ALL;
        let (start, end) = RANGES[self as usize];
        ALL.split_at(end).0.split_at(start).1
    }
}

/// The range of the columns of each part.
const fn ranges() -> [(usize, usize); 6] {
    let mut ranges = [(Column::COUNT, 0); 6];
    let mut index = 0;
    while index < Column::COUNT {
        let part = Column::ALL[index].part() as usize;
        let (start, _) = ranges[part];
        ranges[part] = (if index < start { index } else { start }, index + 1);
        index += 1;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_part_stand_together_and_fields_go_up() {
        let parts = [Part::Tenant, Part::Asset, Part::Meter, Part::Period, Part::Quantity, Part::Attributes];
        let columns: Vec<Column> = parts.iter().flat_map(|part| part.columns()).copied().collect();
        assert_eq!(columns, Column::ALL);
        assert!(Column::ALL.is_sorted_by(|a, b| a.field() < b.field()));
        assert_eq!(Column::ALL.map(Column::name), Column::NAMES);
        assert_eq!(Column::ALL.map(Column::index), std::array::from_fn(|index| index));
    }
}
