//! What records of a block have in common: its arrays, one element for each.

use bytes::BytesMut;

use super::{
    arrays::{INT8, TIMESTAMPTZ, array, array_of, element, fixed, int, put_array},
    damaged,
};
use crate::{
    database::{
        copy_in::{put_i64, put_null, time_to_micros},
        copy_out::{CopyColumns, micros_to_time},
    },
    model::{AssetType, BillingRegion, Platform, RecordDimensions, UsageKey, UtcTime},
    store::{MeterKey, StoreError, usage_key::billing_region},
};

/// Dimensions as a block stores them, once for all of its records that have them: with the type of the asset, so that a filter
/// by type needs no look at assets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredDimensions {
    pub asset_type: AssetType,
    pub dimensions: RecordDimensions<MeterKey>,
}

/// The columns of the arrays, in order.
pub(super) const DIMENSION_COLUMNS: [&str; 4] = ["kind_codes", "period_starts", "period_ends", "trial_expiries"];

/// Where its parts stand in [`StoredDimensions::pack`], and how many bits each has.
pub(super) const METER_SHIFT: u32 = 9;
pub(super) const ASSET_TYPE: PackedCode = PackedCode { shift: 6, bits: 3 };
pub(super) const BILLING_REGION: PackedCode = PackedCode { shift: 3, bits: 3 };
const PLATFORM: PackedCode = PackedCode { shift: 1, bits: 2 };

// A code that needs more bits would change its neighbours.
const _: () = assert!(
    ASSET_TYPE.has_room_for(AssetType::MAX_CODE)
        && BILLING_REGION.has_room_for(BillingRegion::MAX_CODE)
        && PLATFORM.has_room_for(Platform::MAX_CODE)
);

/// A code of the model among others in one number.
#[derive(Clone, Copy)]
pub(super) struct PackedCode {
    pub(super) shift: u32,
    bits: u32,
}

/// An element of an array of numbers.
type Number = fn(&StoredDimensions) -> i64;

/// Appends the arrays of [`DIMENSION_COLUMNS`].
pub(super) fn put(dimensions: &[StoredDimensions], out: &mut BytesMut) {
    let count = dimensions.len().try_into().unwrap_or(i32::MAX);
    let numbers: [(u32, Number); 3] = [
        (INT8, StoredDimensions::pack),
        (TIMESTAMPTZ, |stored| time_to_micros(stored.dimensions.start)),
        (TIMESTAMPTZ, |stored| time_to_micros(stored.dimensions.end)),
    ];
    for (element_type, number) in numbers {
        put_array(element_type, count, out, |out| {
            dimensions.iter().for_each(|stored| put_i64(number(stored), out));
        });
    }
    if dimensions.iter().all(|stored| stored.dimensions.trial_expiry.is_none()) {
        put_null(out);
        return;
    }
    put_array(TIMESTAMPTZ, count, out, |out| {
        for stored in dimensions {
            match stored.dimensions.trial_expiry {
                Some(expiry) => put_i64(time_to_micros(expiry), out),
                None => put_null(out),
            }
        }
    });
}

/// Reads the arrays of [`DIMENSION_COLUMNS`].
pub(super) fn read(columns: &mut CopyColumns) -> Result<Vec<StoredDimensions>, StoreError> {
    let (count, packed) = array(columns.value()?)?;
    let (starts, ends) = (array_of(count, columns.value()?)?, array_of(count, columns.value()?)?);
    let expiries = columns.optional(|columns| array_of(count, columns.value()?))?;
    let mut expiries: Option<&[u8]> = expiries.as_deref();
    let periods = fixed(&starts, count)?.iter().zip(fixed(&ends, count)?);
    let dimensions = fixed(&packed, count)?.iter().zip(periods).map(|(packed, (start, end))| {
        let expiry = expiries.as_mut().map(element).transpose()?.flatten();
        let expiry = expiry.map(|expiry| expiry.try_into().map(i64::from_be_bytes).map_err(|_| damaged()));
        StoredDimensions::unpack(
            int(packed)?,
            (micros_to_time(int(start)?)?, micros_to_time(int(end)?)?),
            expiry.transpose()?.map(micros_to_time).transpose()?,
        )
    });
    dimensions.collect()
}

// === impl PackedCode ===

impl PackedCode {
    /// Where its bits stand when they are shifted down.
    pub(super) const fn mask(self) -> i64 {
        (1 << self.bits) - 1
    }

    const fn has_room_for(self, max_code: i16) -> bool {
        max_code as i64 <= self.mask()
    }

    fn put(self, code: i16) -> i64 {
        i64::from(code) << self.shift
    }

    fn get(self, packed: i64) -> i16 {
        i16::try_from(packed >> self.shift & self.mask()).unwrap_or_default()
    }
}

// === impl StoredDimensions ===

impl StoredDimensions {
    /// What its records are added up by.
    pub fn usage_key(&self) -> UsageKey<MeterKey> {
        let UsageKey { meter: &meter, billing_region, trial } = self.dimensions.usage_key();
        UsageKey { meter, billing_region, trial }
    }

    /// Its small columns in one number, since each array costs the database as much as the next, however small what is in
    /// it: `meter_key * 512 + asset_type * 64 + billing_region * 8 + platform * 2 + trial`, with 0 for no platform. The view
    /// `usage_record` takes them apart for people with SQL.
    fn pack(&self) -> i64 {
        let RecordDimensions { meter, billing_region, platform, trial, .. } = &self.dimensions;
        let small = ASSET_TYPE.put(self.asset_type.code())
            | BILLING_REGION.put(billing_region.code())
            | PLATFORM.put(platform.map_or(0, Platform::code));
        meter.0 << METER_SHIFT | small | i64::from(*trial)
    }

    /// Takes such a number apart.
    fn unpack(
        packed: i64,
        (start, end): (UtcTime, UtcTime),
        trial_expiry: Option<UtcTime>,
    ) -> Result<Self, StoreError> {
        let (asset_type, platform) = (ASSET_TYPE.get(packed), PLATFORM.get(packed));
        let unknown = |what: &str, code: i16| StoreError::corrupt(format!("there is no {what} {code}"));
        Ok(Self {
            asset_type: AssetType::from_code(asset_type.into()).ok_or_else(|| unknown("asset type", asset_type))?,
            dimensions: RecordDimensions {
                meter: MeterKey(packed >> METER_SHIFT),
                start,
                end,
                billing_region: billing_region(BILLING_REGION.get(packed))?,
                platform: match platform {
                    0 => None,
                    code => Some(Platform::from_code(code.into()).ok_or_else(|| unknown("platform", code))?),
                },
                trial: packed & 1 == 1,
                trial_expiry,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_beyond_its_bits_has_no_room() {
        assert!(ASSET_TYPE.has_room_for(7) && BILLING_REGION.has_room_for(7) && PLATFORM.has_room_for(3));
        assert!(!ASSET_TYPE.has_room_for(8) && !BILLING_REGION.has_room_for(8) && !PLATFORM.has_room_for(4));
    }

    #[test]
    fn a_code_that_this_version_does_not_know_is_damage() {
        let time = |micros| UtcTime::from_unix_micros(micros).expect("in range");
        let unpack = |packed| StoredDimensions::unpack(packed, (time(0), time(1)), None);
        let known = 7 << METER_SHIFT | ASSET_TYPE.put(1) | BILLING_REGION.put(1) | PLATFORM.put(1);
        assert!(unpack(known).is_ok_and(|stored| stored.pack() == known));
        for (code, max) in [
            (ASSET_TYPE, AssetType::MAX_CODE),
            (BILLING_REGION, BillingRegion::MAX_CODE),
            (PLATFORM, Platform::MAX_CODE),
        ] {
            for beyond in i64::from(max) + 1..=code.mask() {
                let packed = known & !(code.mask() << code.shift) | beyond << code.shift;
                assert!(matches!(unpack(packed), Err(StoreError::Corrupt(_))), "{beyond} at {}", code.shift);
            }
        }
    }
}
