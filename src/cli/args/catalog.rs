//! Catalogs.

use std::{path::PathBuf, str::FromStr};

use clap::{Args as ClapArgs, Subcommand};

use super::{DatabaseArgs, PublishArgs};
use crate::model::{Month, MonthRange};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CatalogCommand {
    /// Create or update what a TOML or JSON file names: all of it, or nothing. Nothing is deleted.
    Apply(CatalogApplyArgs),
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct CatalogApplyArgs {
    /// The catalog, a `.toml` or `.json` file.
    pub(in crate::cli) file: PathBuf,
    /// Store nothing, and show what the file would do to the bills of all organizations: of a month (`2024-03`), of several
    /// (`2024-01..2024-03`), or of so many months up to the present one (`3`); at most 18.
    #[arg(long, env = "SCR_PREVIEW", value_name = "MONTHS")]
    pub(in crate::cli) preview: Option<PreviewMonths>,
    #[command(flatten)]
    pub(in crate::cli) publish: PublishArgs,
    #[command(flatten)]
    pub(in crate::cli) database: DatabaseArgs,
}

/// Months to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum PreviewMonths {
    Range(MonthRange),
    /// So many, the present one last.
    Last(i32),
}

// === impl PreviewMonths ===

impl PreviewMonths {
    pub(in crate::cli) fn range(self, present: Month) -> MonthRange {
        match self {
            Self::Range(months) => months,
            Self::Last(count) => {
                let months = present.shifted(1 - count).map(|first| MonthRange::new(first, present));
                months.and_then(Result::ok).unwrap_or(MonthRange::single(present))
            }
        }
    }
}

impl FromStr for PreviewMonths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse::<i32>() {
            let is_valid = (1..=MonthRange::MAX_MONTHS).contains(&count);
            let wrong = || format!("a number of months is 1 to {}", MonthRange::MAX_MONTHS);
            return is_valid.then_some(Self::Last(count)).ok_or_else(wrong);
        }
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let month = |text: &str| text.parse::<Month>().map_err(|error| error.to_string());
        MonthRange::new(month(first)?, month(last)?).map(Self::Range).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_one_or_several_or_so_many() {
        let month = |text: &str| text.parse::<Month>().expect("a month");
        let range = |first, last| MonthRange::new(month(first), month(last)).expect("months");
        let present = month("2024-02");
        for (text, expected) in [
            ("2023-07", range("2023-07", "2023-07")),
            ("2023-11..2024-01", range("2023-11", "2024-01")),
            ("1", range("2024-02", "2024-02")),
            ("18", range("2022-09", "2024-02")),
        ] {
            assert_eq!(text.parse::<PreviewMonths>().expect(text).range(present), expected, "{text}");
        }
        assert_eq!(PreviewMonths::Last(3).range(month("0001-01")), range("0001-01", "0001-01"));
        for text in ["", "0", "19", "-1", "2024", "2024-13", "2024-02..2024-01", "2022-01..2024-01", "2024-01..", "x"] {
            assert!(text.parse::<PreviewMonths>().is_err(), "{text}");
        }
    }
}
