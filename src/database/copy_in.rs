//! The binary form of COPY (PostgreSQL's manual, "COPY", "Binary Format").

use bytes::{BufMut as _, BytesMut};
use chrono::NaiveDate;

use crate::model::UtcTime;

pub(crate) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// 2000-01-01 in microseconds since 1970: where PostgreSQL's times start.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// 2000-01-01 in days of the common era, as chrono counts them.
const EPOCH_DAYS: i32 = 730_120;

/// Starts the input.
pub(crate) fn put_header(out: &mut BytesMut) {
    out.put_slice(SIGNATURE);
    out.put_i32(0); // flags
    out.put_i32(0); // length of the header's extension
}

/// Ends the input.
pub(crate) fn put_trailer(out: &mut BytesMut) {
    out.put_i16(-1);
}

pub(crate) fn put_i64(value: i64, out: &mut BytesMut) {
    out.put_i32(8);
    out.put_i64(value);
}

pub(crate) fn put_i32(value: i32, out: &mut BytesMut) {
    out.put_i32(4);
    out.put_i32(value);
}

pub(crate) fn put_i16(value: i16, out: &mut BytesMut) {
    out.put_i32(2);
    out.put_i16(value);
}

pub(crate) fn put_date(value: NaiveDate, out: &mut BytesMut) {
    put_i32(chrono::Datelike::num_days_from_ce(&value) - EPOCH_DAYS, out);
}

pub(crate) fn put_null(out: &mut BytesMut) {
    out.put_i32(-1);
}

/// Puts what `put` puts, with its length before it.
pub(crate) fn put_sized(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    let length_at = out.len();
    out.put_i32(0);
    put(out);
    let length = i32::try_from(out.len() - length_at - 4).unwrap_or(0);
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

pub(crate) fn time_to_micros(time: UtcTime) -> i64 {
    time.unix_micros() - EPOCH_MICROS
}
