//! What is wrong with usage: every problem is counted, and the first are kept.

use std::fmt;

/// How many problems are told one by one.
const SHOWN: usize = 20;
/// How much of a value is shown, in characters.
const SHOWN_VALUE: usize = 80;

/// Something that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageProblem {
    /// The line in the file on which the row starts, counted from 1; in a stream the record's number, from 0.
    pub place: u64,
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
    /// The first problems, in the order of their places.
    pub first: Vec<UsageProblem>,
    /// How many there are in all.
    pub total: u64,
}

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first: Vec<UsageProblem>,
    total: u64,
}

impl UsageProblem {
    pub(super) fn new(place: u64, column: &'static str, value: &str, reason: impl fmt::Display) -> Self {
        let mut shown: String = value.chars().take(SHOWN_VALUE).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self { place, column, value: shown, reason: reason.to_string() }
    }
}

impl Problems {
    pub(super) fn add(&mut self, problem: UsageProblem) {
        self.total += 1;
        if self.first.len() < SHOWN {
            self.first.push(problem);
        }
    }

    pub(super) fn into_result(mut self) -> Result<(), InvalidUsage> {
        if self.total == 0 {
            return Ok(());
        }
        self.first.sort_by_key(|problem| problem.place);
        Err(InvalidUsage { first: self.first, total: self.total })
    }
}
