//! The partitions of records: one for each month.

use crate::model::Month;

/// A year and the number of a month follow: `usage_block_2022_02`.
const PREFIX: &str = "usage_block_";

/// Its name has only digits in it.
pub(super) fn partition_of(month: Month) -> String {
    format!("{PREFIX}{:04}_{:02}", month.year(), month.number())
}

/// The month of a partition; `None` where no month has such a one.
pub(super) fn month_of(partition: &str) -> Option<Month> {
    partition.strip_prefix(PREFIX)?.replace('_', "-").parse().ok()
}
