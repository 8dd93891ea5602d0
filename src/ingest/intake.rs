//! Checks rows and collects them for sorting.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Checker, InvalidUsage, Prepared, Progress, Row,
    csv::Piece,
    findings::Findings,
    limits::{ImportLimits, ImportTooLarge},
    lines::Lines,
    plan::Planner,
    record_location::{LocationNames, RecordLocation},
    row::{RawRecord, RowReader},
    sort::Sorter,
    tenants::Tenants,
};
use crate::model::Column;

/// Collects the rows of a delivery, from files or from a stream.
pub struct Intake {
    checker: Arc<Checker>,
    tenants: Tenants,
    sorter: Sorter,
    findings: Findings,
    progress: Arc<Progress>,
    record_count: u64,
    location_names: LocationNames,
    /// The index of the input that is being read.
    input: usize,
    max_rows: u64,
    max_loads: usize,
}

impl Intake {
    pub(super) fn new(
        checker: Arc<Checker>,
        tenants: Tenants,
        progress: Arc<Progress>,
        location_names: LocationNames,
        limits: ImportLimits,
    ) -> Self {
        Self {
            checker,
            tenants,
            sorter: Sorter::new(limits.disk_bytes),
            findings: Findings::default(),
            progress,
            record_count: 0,
            location_names,
            input: 0,
            max_rows: limits.rows,
            max_loads: limits.loads,
        }
    }

    /// Gets ready for records of a stream that name these tenants. Waits for the database.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub fn look_up_tenants<'t>(&mut self, ids: impl Iterator<Item = &'t str>) -> io::Result<()> {
        self.tenants.look_up(ids)
    }

    /// Adds the record of a stream with this number, whose tenant was looked up. `read` converts it to a row.
    ///
    /// # Errors
    ///
    /// Writing to disk failed, or the limit of rows or disk is reached. Problems of the row are reported by [`Import::prepare`](super::Import::prepare).
    pub fn add<'r>(&mut self, number: u64, read: impl FnOnce(&mut RowReader<'_, 'r>) -> Row<'r>) -> io::Result<()> {
        self.take_in(number, None, read)
    }

    /// Has the tenants of a part looked up that is added later.
    pub(super) fn announce(&mut self, piece: &Piece) -> io::Result<()> {
        match piece {
            Piece::Lines(lines) => self.tenants.ask(tenant_ids(lines)),
            Piece::Problem { .. } => Ok(()),
        }
    }

    /// Adds a part of an input.
    pub(super) fn add_piece(&mut self, input: usize, piece: Piece) -> io::Result<()> {
        self.input = input;
        match piece {
            Piece::Lines(lines) => {
                self.tenants.look_up(tenant_ids(&lines))?;
                for (number, texts) in lines.iter() {
                    self.take_in(number, Some(&texts), |reader| Row::of_texts(&texts, reader))?;
                }
            }
            Piece::Problem { line, column, value, reason } => {
                self.findings.refuse(RecordLocation::new(input, line), column, &value, &reason);
            }
        }
        Ok(())
    }

    fn take_in<'r>(
        &mut self,
        number: u64,
        texts: Option<&RawRecord<'r>>,
        read: impl FnOnce(&mut RowReader<'_, 'r>) -> Row<'r>,
    ) -> io::Result<()> {
        if self.record_count == self.max_rows {
            return Err(ImportTooLarge::Rows(self.max_rows).into());
        }
        self.record_count += 1;
        self.progress.rows_read.fetch_add(1, Ordering::Relaxed);
        let refused = self.findings.total();
        let location = RecordLocation::new(self.input, number);
        let mut reader = RowReader::new(location, &mut self.findings, texts);
        let row = read(&mut reader);
        match self.checker.check(location, &row, &self.tenants, &mut reader) {
            Some(row) => self.sorter.push(&row),
            // A row that is neither stored nor refused would be lost silently.
            None if self.findings.total() == refused => Err(io::Error::other(format!("row {number} was lost"))),
            None => Ok(()),
        }
    }

    /// Sorts the rows, finds duplicates, and adds up; gives up when nobody waits for it any more.
    pub(super) fn finish(mut self, is_wanted: impl Fn() -> bool + Sync) -> io::Result<Result<Prepared, InvalidUsage>> {
        let sorted = self.sorter.finish()?;
        let planner = Planner {
            checker: &self.checker,
            tenants: &self.tenants,
            location_names: &self.location_names,
            max_loads: self.max_loads,
            is_wanted: &is_wanted,
        };
        let plan = planner.plan(&sorted, &mut self.findings)?;
        let record_count = self.record_count;
        Ok(self.findings.into_result().map(|warnings| Prepared { sorted, plan, record_count, warnings }))
    }
}

fn tenant_ids(lines: &Lines) -> impl Iterator<Item = &str> {
    lines.iter().map(|(_, texts)| texts[Column::TenantId.index()])
}
