//! Values of the model as messages of the contract.

use prost_types::Timestamp;

use super::proto;
use crate::model::{Month, UtcTime};

impl From<UtcTime> for Timestamp {
    fn from(time: UtcTime) -> Self {
        let (seconds, nanos) = time.unix_seconds_and_nanos();
        Self { seconds, nanos }
    }
}

impl From<Month> for proto::YearMonth {
    fn from(month: Month) -> Self {
        Self { year: month.year(), month: month.number().cast_signed() }
    }
}
