//! A checked row as bytes: a key whose byte order is the order of the report, and the rest.
//!
//! The key holds, in this order: tenant, usage day, asset type, asset id, meter (by its position in the order of names),
//! start, end, billing region, platform, trial. Two rows of one load with equal keys are one record given twice.

use super::record_location::RecordLocation;
use crate::model::{AssetType, BillingRegion, Decimal, Platform, RecordDimensions, TenantId, UtcTime};

/// A row that passed the checks. Texts are borrowed from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckedRow<'a> {
    pub(super) location: RecordLocation,
    pub(super) tenant_id: TenantId,
    pub(super) asset_name: &'a str,
    pub(super) asset_id: &'a str,
    pub(super) asset_type: AssetType,
    /// The meter by its position in the order of names.
    pub(super) dimensions: RecordDimensions<u32>,
    pub(super) quantity: Decimal,
}

/// The length of the part of a key that identifies the load: tenant and day.
pub(super) const LOAD_BYTES: usize = 16 + 4;
/// Encodes an unset time. Far outside the calendar.
const NO_TIME: i64 = i64::MIN;

impl<'a> CheckedRow<'a> {
    pub(super) fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.tenant_id.as_uuid().as_bytes());
        // Day numbers of the years 1 to 9999 are positive.
        out.extend_from_slice(&self.dimensions.start.day_number().to_be_bytes());
        out.push(code(self.asset_type.code()));
        out.extend_from_slice(self.asset_id.as_bytes());
        // Texts contain no NUL, so a prefix sorts before longer texts.
        out.push(0);
        let dimensions = &self.dimensions;
        out.extend_from_slice(&dimensions.meter.to_be_bytes());
        out.extend_from_slice(&ordered(dimensions.start.unix_micros()));
        out.extend_from_slice(&ordered(dimensions.end.unix_micros()));
        out.push(code(dimensions.billing_region.code()));
        out.push(dimensions.platform.map_or(0, |platform| code(platform.code())));
        out.push(dimensions.trial.into());
    }

    pub(super) fn put_rest(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.location.to_bits().to_be_bytes());
        out.extend_from_slice(&self.quantity.coefficient().to_be_bytes());
        out.push(self.quantity.scale());
        out.extend_from_slice(&self.dimensions.trial_expiry.map_or(NO_TIME, UtcTime::unix_micros).to_be_bytes());
        out.extend_from_slice(self.asset_name.as_bytes());
    }

    /// Decodes a key and the rest; `None` if they are damaged.
    pub(super) fn read(mut key: &'a [u8], mut rest: &'a [u8]) -> Option<Self> {
        let key = &mut key;
        let rest = &mut rest;
        let tenant_id = TenantId::from_uuid(uuid::Uuid::from_bytes(take(key)?));
        let _day: [u8; 4] = take(key)?;
        let [asset_type] = take(key)?;
        let id_end = key.iter().position(|&byte| byte == 0)?;
        let asset_id = std::str::from_utf8(&key[..id_end]).ok()?;
        *key = &key[id_end + 1..];
        let meter = u32::from_be_bytes(take(key)?);
        let start = UtcTime::from_unix_micros(unordered(take(key)?))?;
        let end = UtcTime::from_unix_micros(unordered(take(key)?))?;
        let [region, platform, trial] = take(key)?;

        let location = RecordLocation::from_bits(u64::from_be_bytes(take(rest)?));
        let coefficient = u128::from_be_bytes(take(rest)?);
        let [scale] = take(rest)?;
        let trial_expiry = match i64::from_be_bytes(take(rest)?) {
            NO_TIME => None,
            micros => Some(UtcTime::from_unix_micros(micros)?),
        };
        Some(Self {
            location,
            tenant_id,
            asset_name: std::str::from_utf8(rest).ok()?,
            asset_id,
            asset_type: AssetType::from_code(asset_type.into())?,
            dimensions: RecordDimensions {
                meter,
                start,
                end,
                billing_region: BillingRegion::from_code(region.into())?,
                platform: match platform {
                    0 => None,
                    code => Some(Platform::from_code(code.into())?),
                },
                trial: trial != 0,
                trial_expiry,
            },
            quantity: Decimal::new(coefficient, scale)?,
        })
    }
}

/// The part of a key that identifies the load.
pub(super) fn load_of(key: &[u8]) -> &[u8] {
    &key[..LOAD_BYTES.min(key.len())]
}

// A code is a byte of the key.
const _: () = assert!(is_byte(AssetType::MAX_CODE) && is_byte(BillingRegion::MAX_CODE) && is_byte(Platform::MAX_CODE));

const fn is_byte(code: i16) -> bool {
    code.to_be_bytes()[0] == 0
}

fn code(code: i16) -> u8 {
    let [_, low] = code.to_be_bytes();
    low
}

/// Encodes a signed number so that its bytes sort like the number.
fn ordered(value: i64) -> [u8; 8] {
    (value.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn unordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn row()(
            location in any::<u64>(), tenant in any::<u128>(),
            name in "\\PC{0,9}", id in "[a-c]{1,4}", asset_type in 1..=5, meter in 0..4_u32,
            start in -10_i64..10, length in 1_i64..9, coefficient in 0..10_u128.pow(38), scale in 0..=38_u8,
            region in 1..=4, platform in 0..=2, trial in any::<bool>(), expiry in prop::option::of(any::<u32>()),
        ) -> (TenantId, String, String, CheckedRow<'static>) {
            let time = |micros| UtcTime::from_unix_micros(micros).expect("in range");
            let tenant_id = TenantId::from_uuid(uuid::Uuid::from_u128(tenant % 3));
            let row = CheckedRow {
                location: RecordLocation::from_bits(location), tenant_id, asset_name: "", asset_id: "",
                asset_type: AssetType::from_code(asset_type).expect("in range"),
                dimensions: RecordDimensions {
                    meter, start: time(start), end: time(start + length),
                    billing_region: BillingRegion::from_code(region).expect("in range"),
                    platform: Platform::from_code(platform), trial,
                    trial_expiry: expiry.map(|expiry| time(expiry.into())),
                },
                quantity: Decimal::new(coefficient, scale).expect("in range"),
            };
            (tenant_id, name, id, row)
        }
    }

    proptest! {
        #[test]
        fn round_trip((_, name, id, row) in row()) {
            let row = CheckedRow { asset_name: &name, asset_id: &id, ..row };
            let (mut key, mut rest) = (Vec::new(), Vec::new());
            row.put_key(&mut key);
            row.put_rest(&mut rest);
            prop_assert_eq!(CheckedRow::read(&key, &rest), Some(row));
        }

        /// A value that this version does not know is damage, and not a row without one.
        #[test]
        fn unknown_codes_are_not_read((_, name, id, row) in row()) {
            let row = CheckedRow { asset_name: &name, asset_id: &id, ..row };
            let (mut key, mut rest) = (Vec::new(), Vec::new());
            row.put_key(&mut key);
            row.put_rest(&mut rest);
            // Type, region and platform.
            for at in [LOAD_BYTES, key.len() - 3, key.len() - 2] {
                let mut key = key.clone();
                key[at] = 9;
                prop_assert_eq!(CheckedRow::read(&key, &rest), None);
            }
        }

        #[test]
        fn keys_sort_as_reports_do((_, _, id_a, a) in row(), (_, _, id_b, b) in row()) {
            let a = CheckedRow { asset_id: &id_a, ..a };
            let b = CheckedRow { asset_id: &id_b, ..b };
            let fields = |row: &CheckedRow<'_>| (
                row.tenant_id, row.dimensions.start.day(), row.asset_type, row.asset_id.to_owned(), row.dimensions.meter,
                row.dimensions.start, row.dimensions.end, row.dimensions.billing_region, row.dimensions.platform,
                row.dimensions.trial,
            );
            let key = |row: &CheckedRow<'_>| { let mut key = Vec::new(); row.put_key(&mut key); key };
            prop_assert_eq!(key(&a).cmp(&key(&b)), fields(&a).cmp(&fields(&b)));
            prop_assert_eq!(
                load_of(&key(&a)) == load_of(&key(&b)),
                a.tenant_id == b.tenant_id && a.dimensions.start.day() == b.dimensions.start.day()
            );
        }
    }
}
