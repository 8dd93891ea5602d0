//! Taking rows in: each is checked, and set aside to be sorted.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Checker, InvalidUsage, Prepared, Progress, RawRecord,
    findings::Findings,
    place::{Place, PlaceNames},
    plan,
    sort::Sorter,
};

/// Takes the rows of a delivery in, from wherever they come.
pub struct Intake {
    checker: Arc<Checker>,
    sorter: Sorter,
    findings: Findings,
    progress: Arc<Progress>,
    record_count: u64,
    places: PlaceNames,
    /// Which of the delivery's inputs is being read.
    input: usize,
}

impl Intake {
    pub(super) fn new(checker: Arc<Checker>, progress: Arc<Progress>, places: PlaceNames) -> Self {
        Self {
            checker,
            sorter: Sorter::default(),
            findings: Findings::default(),
            progress,
            record_count: 0,
            places,
            input: 0,
        }
    }

    /// What comes from now on is of this input.
    pub(super) fn begin_input(&mut self, input: usize) {
        self.input = input;
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Checks a row. `number` is its line in a file, or its number in a stream. The error means that the disk is full or
    /// broken; what is wrong with the row is told when the intake is prepared.
    pub fn add(&mut self, number: u64, raw: &RawRecord<'_>) -> io::Result<()> {
        self.record_count += 1;
        self.progress.rows_read.fetch_add(1, Ordering::Relaxed);
        let refused = self.findings.total();
        match self.checker.check(Place::new(self.input, number), raw, &mut self.findings) {
            Some(row) => self.sorter.push(&row),
            // Whatever is not taken is refused: a row that is neither would be lost without a word.
            None if self.findings.total() == refused => Err(io::Error::other(format!("row {number} was lost"))),
            None => Ok(()),
        }
    }

    /// Takes note of what is no row that could be checked.
    pub fn refuse(&mut self, number: u64, column: &'static str, value: &str, reason: &dyn std::fmt::Display) {
        self.findings.refuse(Place::new(self.input, number), column, value, reason);
    }

    /// Sorts, finds doubles, and sums up.
    pub(super) fn finish(mut self) -> io::Result<Result<Prepared, InvalidUsage>> {
        let mut sorted = self.sorter.finish()?;
        let plan = plan::plan(&mut sorted, &self.checker, &self.places, &mut self.findings)?;
        let record_count = self.record_count;
        Ok(self.findings.into_result().map(|warnings| Prepared { sorted, plan, record_count, warnings }))
    }
}
