//! Page sizes.

/// The maximum number of entries of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u16);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must not be negative: {0}")]
pub struct InvalidPageSize(pub i32);

impl PageSize {
    /// Of lists that are read to their end.
    pub const MAX: Self = Self(1000);
    /// The most lines of a bill.
    pub const MAX_LINES: Self = Self(5000);

    /// The requested size: 0 means `default`, and more than `max` is lowered to `max` (AIP-158).
    pub fn new(asked: i32, default: u16, max: u16) -> Result<Self, InvalidPageSize> {
        match asked {
            ..0 => Err(InvalidPageSize(asked)),
            0 => Ok(Self(default)),
            size => Ok(Self(u16::try_from(size).map_or(max, |size| size.min(max)))),
        }
    }

    pub const fn get(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_default_and_more_is_lowered() {
        let size = |asked| PageSize::new(asked, 100, 1000).map(PageSize::get);
        assert_eq!(size(0), Ok(100));
        assert_eq!(size(1), Ok(1));
        assert_eq!(size(1000), Ok(1000));
        assert_eq!(size(1001), Ok(1000));
        assert_eq!(size(i32::MAX), Ok(1000));
        assert_eq!(size(-1), Err(InvalidPageSize(-1)));
        assert_eq!(size(i32::MIN), Err(InvalidPageSize(i32::MIN)));
    }
}
