//! Arrays in the binary form of COPY: that of `array_send` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`: dimensions, flags,
//! type, length, lower bound, and each element with its length.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::damaged;
use crate::{database::copy_in::put_sized, store::StoreError};

// PostgreSQL's `pg_type.dat`.
pub(super) const INT8: u32 = 20;
pub(super) const TIMESTAMPTZ: u32 = 1184;

/// Elements of eight bytes, each with its length before it.
pub(super) type Fixed<'a> = &'a [[u8; 12]];

/// Puts an array, some elements of which may be null.
pub(super) fn put_array(element_type: u32, count: i32, out: &mut BytesMut, put_elements: impl FnOnce(&mut BytesMut)) {
    put_sized(out, |out| {
        out.put_i32(1); // dimensions
        out.put_i32(1); // there may be nulls
        out.put_u32(element_type);
        out.put_i32(count);
        out.put_i32(1); // the first element's number
        put_elements(out);
    });
}

pub(super) fn fixed(elements: &[u8], count: usize) -> Result<Fixed<'_>, StoreError> {
    match elements.as_chunks() {
        (elements, []) if elements.len() == count => Ok(elements),
        _ => Err(damaged()),
    }
}

/// The elements of an array that must have so many.
pub(super) fn array_of(count: usize, value: Bytes) -> Result<Bytes, StoreError> {
    match array(value)? {
        (other, elements) if other == count => Ok(elements),
        _ => Err(damaged()),
    }
}

/// How many elements an array has, and its elements.
pub(super) fn array(mut array: Bytes) -> Result<(usize, Bytes), StoreError> {
    const HEADER: usize = 20;
    let header = if array.len() < HEADER { return Err(damaged()) } else { array.split_to(HEADER) };
    let word = |at: usize| header.get(at..at + 4).map_or([0; 4], |word| word.try_into().unwrap_or_default());
    let (dimensions, count) = (i32::from_be_bytes(word(0)), i32::from_be_bytes(word(12)));
    if dimensions != 1 {
        return Err(damaged());
    }
    Ok((usize::try_from(count).map_err(|_| damaged())?, array))
}

pub(super) fn int(element: &[u8; 12]) -> Result<i64, StoreError> {
    match element {
        [0, 0, 0, 8, value @ ..] => Ok(i64::from_be_bytes(*value)),
        _ => Err(damaged()),
    }
}

/// The next element; `None` where it is null.
pub(super) fn element<'a>(elements: &mut &'a [u8]) -> Result<Option<&'a [u8]>, StoreError> {
    let (length, rest) = elements.split_first_chunk().ok_or_else(damaged)?;
    let length = i32::from_be_bytes(*length);
    *elements = rest;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| damaged())?;
    let (element, rest) = elements.split_at_checked(length).ok_or_else(damaged)?;
    *elements = rest;
    Ok(Some(element))
}
