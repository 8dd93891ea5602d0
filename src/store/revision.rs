//! The revision of a tenant's month.

use std::io::Write as _;

use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};

use crate::model::{Month, TenantId};

/// A load with records, as a revision knows it: its content, and nothing of when or how often it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadContent<'a> {
    pub usage_day: NaiveDate,
    /// It contains no spaces.
    pub source: &'a str,
    pub digest: &'a [u8],
}

/// Identifies the content of a tenant's month: equal content, equal revision. The loads are those in force that have records, ordered
/// by day and source: a withdrawn day counts like one that was never delivered.
pub fn revision<'a>(tenant: TenantId, month: Month, loads: impl IntoIterator<Item = LoadContent<'a>>) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut text = format!("{tenant} {month}\n").into_bytes();
    for load in loads {
        digest.update(&text);
        text.clear();
        // Writing to a vector cannot fail.
        let written = write!(text, "{} {} ", load.usage_day, load.source);
        debug_assert!(written.is_ok());
        text.extend_from_slice(load.digest);
    }
    digest.update(&text);
    digest.finalize().into()
}
