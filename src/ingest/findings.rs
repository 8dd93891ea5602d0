//! What is wrong with usage, and what is odd about it: everything is counted, and the first of each is kept.

use std::fmt;

use super::record_location::RecordLocation;
use crate::model::Column;

/// How many problems are told one by one.
const SHOWN: usize = 20;
/// How much of a value is shown, in characters.
const SHOWN_VALUE: usize = 80;

/// Something that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageProblem {
    /// Which of the delivery's files, from 0; 0 in a stream.
    pub input: usize,
    /// The line in the file on which the row starts (the field, where it is about its quotes), counted from 1; in a stream
    /// the record's number, from 0.
    pub number: u64,
    /// The column; empty where it is about the row as a whole.
    pub column: &'static str,
    /// The value found there, cut short where it is long.
    pub value: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// Usage that was not imported, since rows of it are not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{total} problems")]
pub struct InvalidUsage {
    /// The first problems, in the order of their places and columns.
    pub first: Vec<UsageProblem>,
    /// How many there are in all.
    pub total: u64,
}

/// Something that is allowed and seldom meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageWarning {
    /// What it is about.
    pub kind: WarningKind,
    /// How often it is there.
    pub count: u64,
    /// Where the first is: which of the delivery's files, from 0, and the line or the number of the record.
    pub first: (usize, u64),
    /// What is odd about the first.
    pub example: String,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// Records under trial that start when the trial has expired, or later.
    ExpiredTrial,
    /// Asset ids of a tenant that differ only in their Unicode normal form, so that people see one asset and not two.
    NormalForm,
}

/// Collects problems and warnings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    first: Vec<UsageProblem>,
    total: u64,
    warnings: Vec<UsageWarning>,
}

impl Findings {
    /// How many problems there are.
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

    /// The warnings of usage that is sound.
    pub(super) fn into_result(mut self) -> Result<Vec<UsageWarning>, InvalidUsage> {
        if self.total == 0 {
            return Ok(self.warnings);
        }
        let column = |problem: &UsageProblem| Column::NAMES.iter().position(|name| *name == problem.column);
        self.first.sort_by_key(|problem| (problem.input, problem.number, column(problem)));
        Err(InvalidUsage { first: self.first, total: self.total })
    }
}
