//! Records in the binary form of COPY (PostgreSQL's manual, "COPY", "Binary Format").

use bytes::{BufMut as _, BytesMut};
use chrono::NaiveDate;

use super::numeric::put_numeric;
use crate::model::{Decimal, UtcTime};

/// The statement whose input [`put_row`] writes; the columns are in the same order.
pub(super) const COPY_RECORDS: &str = "-- copy_records
    COPY usage_record (tenant_key, load_id, asset_key, meter_key, period_start, period_end, trial_expiry, usage_month,
                       row_number, asset_type, billing_region, platform, trial, quantity)
    FROM STDIN (FORMAT binary)";

pub(super) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const COLUMN_COUNT: i16 = 14;
/// 2000-01-01 in microseconds since 1970: where PostgreSQL's times start.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// 2000-01-01 in days of the common era, as chrono counts them.
const EPOCH_DAYS: i32 = 730_120;

/// A row of `usage_record`.
pub(super) struct CopyRow {
    pub(super) tenant_key: i64,
    pub(super) load_id: i64,
    pub(super) asset_key: i64,
    pub(super) meter_key: i64,
    pub(super) start: UtcTime,
    pub(super) end: UtcTime,
    pub(super) trial_expiry: Option<UtcTime>,
    pub(super) usage_month: NaiveDate,
    pub(super) row_number: i32,
    pub(super) asset_type: i16,
    pub(super) billing_region: i16,
    pub(super) platform: Option<i16>,
    pub(super) trial: bool,
    pub(super) quantity: Decimal,
}

/// Starts the input.
pub(super) fn put_header(out: &mut BytesMut) {
    out.put_slice(SIGNATURE);
    out.put_i32(0); // flags
    out.put_i32(0); // length of the header's extension
}

/// Ends the input.
pub(super) fn put_trailer(out: &mut BytesMut) {
    out.put_i16(-1);
}

/// Adds a row.
pub(super) fn put_row(row: &CopyRow, out: &mut BytesMut) {
    out.put_i16(COLUMN_COUNT);
    put_i64(row.tenant_key, out);
    put_i64(row.load_id, out);
    put_i64(row.asset_key, out);
    put_i64(row.meter_key, out);
    put_time(Some(row.start), out);
    put_time(Some(row.end), out);
    put_time(row.trial_expiry, out);
    put_i32(chrono::Datelike::num_days_from_ce(&row.usage_month) - EPOCH_DAYS, out);
    put_i32(row.row_number, out);
    put_i16(Some(row.asset_type), out);
    put_i16(Some(row.billing_region), out);
    put_i16(row.platform, out);
    out.put_i32(1);
    out.put_u8(row.trial.into());
    put_sized_numeric(row.quantity, out);
}

fn put_i64(value: i64, out: &mut BytesMut) {
    out.put_i32(8);
    out.put_i64(value);
}

fn put_i32(value: i32, out: &mut BytesMut) {
    out.put_i32(4);
    out.put_i32(value);
}

fn put_i16(value: Option<i16>, out: &mut BytesMut) {
    match value {
        Some(value) => {
            out.put_i32(2);
            out.put_i16(value);
        }
        None => out.put_i32(-1),
    }
}

fn put_time(value: Option<UtcTime>, out: &mut BytesMut) {
    match value {
        Some(value) => put_i64(value.unix_micros() - EPOCH_MICROS, out),
        None => out.put_i32(-1),
    }
}

fn put_sized_numeric(value: Decimal, out: &mut BytesMut) {
    let length_at = out.len();
    out.put_i32(0);
    put_numeric(value, out);
    let length = i32::try_from(out.len() - length_at - 4).unwrap_or(0);
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}
