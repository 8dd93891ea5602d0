//! Numbers of one width, one after the other, the highest byte first: what the database hands over as it is.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::damaged;
use crate::{
    database::{copy_in::put_sized, copy_out::CopyColumns},
    store::StoreError,
};

/// A column of a block.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Bytes,
    width: usize,
}

/// Puts numbers with as many bytes each as the highest one has.
pub(super) fn put_packed(numbers: impl Iterator<Item = u128>, highest: u128, out: &mut BytesMut) {
    let unused = (highest.max(1).leading_zeros() / 8) as usize;
    put_sized(out, |out| {
        for number in numbers {
            out.put_slice(&number.to_be_bytes()[unused..]);
        }
    });
}

// === impl Packed ===

impl Packed {
    /// Reads as many numbers, each of up to so many bytes.
    pub(super) fn read(columns: &mut CopyColumns, count: usize, max_width: usize) -> Result<Self, StoreError> {
        let bytes = columns.value()?;
        let width = bytes.len() / count;
        if bytes.len() % count != 0 || !(1..=max_width).contains(&width) {
            return Err(damaged());
        }
        Ok(Self { bytes, width })
    }

    /// Whether its numbers fit 64 bits.
    pub(super) fn is_narrow(&self) -> bool {
        self.width <= 8
    }

    /// Its numbers, which must fit 64 bits.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.bytes.chunks_exact(self.width).map(|number| number.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// Its numbers.
    pub(super) fn wide_numbers(&self) -> impl Iterator<Item = u128> + '_ {
        let number = |number: &[u8]| number.iter().fold(0, |sum, &byte| sum << 8 | u128::from(byte));
        self.bytes.chunks_exact(self.width).map(number)
    }
}
