//! Problems of usage, and warnings about it. All are counted; the first ones are kept.

use std::fmt;

use super::record_location::RecordLocation;
use crate::model::Column;

/// The maximum number of problems that are kept.
const SHOWN: usize = 20;
/// The maximum length of a value in a problem, in characters.
const SHOWN_VALUE: usize = 80;

/// A problem of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageProblem {
    /// Which of the delivery's files, from 0; 0 in a stream.
    pub input: usize,
    /// The line in the file on which the row starts (the field, where it is about its quotes), counted from 1; in a stream
    /// the record's number, from 0.
    pub number: u64,
    /// Empty if the problem is about the whole row.
    pub column: &'static str,
    /// The value, truncated if it is long.
    pub value: String,
    pub reason: String,
}

/// Usage was not imported, because of invalid rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{total} problems")]
pub struct InvalidUsage {
    /// The first problems, by line and column.
    pub first: Vec<UsageProblem>,
    /// The number of all problems.
    pub total: u64,
}

/// Usage that is valid but probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageWarning {
    pub kind: WarningKind,
    /// How many records or assets it is about.
    pub count: u64,
    /// The location of the first: the index of the file in the delivery, and the line or record number.
    pub first: (usize, u64),
    /// What is unusual about the first.
    pub example: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// Trial records that start at or after the expiry of the trial.
    ExpiredTrial,
    /// Asset ids of a tenant that differ only in their Unicode normal form, so that people see one asset and not two.
    NormalForm,
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    first: Vec<UsageProblem>,
    total: u64,
    warnings: Vec<UsageWarning>,
}

impl Findings {
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn refuse(
        &mut self,
        location: RecordLocation,
        column: &'static str,
        value: &str,
        reason: &dyn fmt::Display,
    ) {
        self.total += 1;
        if self.first.len() >= SHOWN {
            return;
        }
        let mut shown: String = value.chars().take(SHOWN_VALUE).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        let reason = reason.to_string();
        self.first.push(UsageProblem {
            input: location.input(),
            number: location.number(),
            column,
            value: shown,
            reason,
        });
    }

    pub(super) fn warn(&mut self, kind: WarningKind, location: RecordLocation, example: impl FnOnce() -> String) {
        match self.warnings.iter_mut().find(|warning| warning.kind == kind) {
            Some(warning) => warning.count += 1,
            None => {
                let first = (location.input(), location.number());
                self.warnings.push(UsageWarning { kind, count: 1, first, example: example() });
            }
        }
    }

    /// Adds those of rows that come later.
    pub(super) fn extend(&mut self, later: Self) {
        self.total += later.total;
        let room = SHOWN.saturating_sub(self.first.len());
        self.first.extend(later.first.into_iter().take(room));
        for warning in later.warnings {
            match self.warnings.iter_mut().find(|known| known.kind == warning.kind) {
                Some(known) => known.count += warning.count,
                None => self.warnings.push(warning),
            }
        }
    }

    /// The warnings, if there are no problems.
    pub(super) fn into_result(mut self) -> Result<Vec<UsageWarning>, InvalidUsage> {
        if self.total == 0 {
            return Ok(self.warnings);
        }
        let column = |problem: &UsageProblem| Column::NAMES.iter().position(|name| *name == problem.column);
        self.first.sort_by_key(|problem| (problem.input, problem.number, column(problem)));
        Err(InvalidUsage { first: self.first, total: self.total })
    }
}
