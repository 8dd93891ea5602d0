//! What a record's group is, in one number whose order is that of rows.

use crate::model::Platform;

/// A group of a tenant's month: its line, its asset or the type of that, its usage day, its platform; and whether the records
/// are under trial, so that groups of both kinds, which are few, are two. What is not asked for is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupKey(u64);

const PLATFORM_SHIFT: u32 = 1;
const DAY_SHIFT: u32 = 3;
const ASSET_SHIFT: u32 = 8;
const LINE_SHIFT: u32 = 40;
const LINE_BITS: u32 = 64 - LINE_SHIFT;

// A code that needs more bits would change its neighbours.
const _: () = assert!(Platform::MAX_CODE < 1 << (DAY_SHIFT - PLATFORM_SHIFT) && 31 < 1 << (ASSET_SHIFT - DAY_SHIFT));

/// What a [`GroupKey`] is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupParts {
    /// The position among the lines of the month.
    pub(super) line: u32,
    /// A number for the asset, or the code of its type.
    pub(super) asset: u32,
    /// 1 to 31.
    pub(super) day: u32,
    pub(super) platform: Option<Platform>,
    pub(super) trial: bool,
}

// === impl GroupKey ===

impl GroupKey {
    /// How many lines there may be.
    pub(super) const MAX_LINES: usize = 1 << LINE_BITS;

    pub(super) fn new(parts: GroupParts) -> Self {
        let GroupParts { line, asset, day, platform, trial } = parts;
        let platform = platform.map_or(0, Platform::code).unsigned_abs();
        Self(
            u64::from(line) << LINE_SHIFT
                | u64::from(asset) << ASSET_SHIFT
                | u64::from(day) << DAY_SHIFT
                | u64::from(platform) << PLATFORM_SHIFT
                | u64::from(trial),
        )
    }

    /// The same group of another asset; this one has none.
    #[inline]
    pub(super) fn with_asset(self, asset: u32) -> Self {
        Self(self.0 | u64::from(asset) << ASSET_SHIFT)
    }

    /// The same group with another number for its asset.
    pub(super) fn replace_asset(self, asset: u32) -> Self {
        Self(self.0 & !(u64::from(u32::MAX) << ASSET_SHIFT)).with_asset(asset)
    }

    pub(super) fn parts(self) -> GroupParts {
        // Each fits by how keys are made.
        let bits = |shift: u32, until: u32| (self.0 >> shift & ((1 << (until - shift)) - 1)) as u32;
        GroupParts {
            line: bits(LINE_SHIFT, 64),
            asset: bits(ASSET_SHIFT, LINE_SHIFT),
            day: bits(DAY_SHIFT, ASSET_SHIFT),
            platform: Platform::from_code(bits(PLATFORM_SHIFT, DAY_SHIFT).cast_signed()),
            trial: self.0 & 1 == 1,
        }
    }

    /// The group of rows: billable usage and usage under trial are one.
    pub(super) fn row(self) -> Self {
        Self(self.0 & !1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn parts()(
            line in 0..1_u32 << LINE_BITS, asset in any::<u32>(), day in 0..=31_u32, platform in 0..=2, trial in any::<bool>(),
        ) -> GroupParts {
            GroupParts { line, asset, day, platform: Platform::from_code(platform), trial }
        }
    }

    proptest! {
        #[test]
        fn keys_have_their_parts_and_their_order(a in parts(), b in parts(), asset in any::<u32>()) {
            prop_assert_eq!(GroupKey::new(a).parts(), a);
            prop_assert_eq!(GroupKey::new(a).cmp(&GroupKey::new(b)), a.cmp(&b));
            prop_assert_eq!(GroupKey::new(GroupParts { asset: 0, ..a }).with_asset(asset).parts(), GroupParts { asset, ..a });
            prop_assert_eq!(GroupKey::new(a).replace_asset(asset).parts(), GroupParts { asset, ..a });
            prop_assert_eq!(GroupKey::new(a).row().parts(), GroupParts { trial: false, ..a });
        }
    }
}
