//! The detailed usage of a tenant's month, from a CSV file.

use std::{collections::BTreeMap, fmt::Display, path::Path, str::FromStr};

use bigdecimal::BigDecimal;
use csv::StringRecord;
use sha2::{Digest as _, Sha256};

use super::{Sums, lines::name};
use crate::{
    cli::{
        CommandError,
        statement::document::{ReportLoad, ReportLoads},
    },
    contract::CsvFormat,
    model::{Column, Decimal, Month, TenantId, UtcTime, hex, plain},
    statement::Line,
};

/// What a file adds up to.
pub(super) struct Detail {
    pub(super) tenant: TenantId,
    pub(super) month: Month,
    pub(super) revision: [u8; 32],
    pub(super) row_count: u64,
    sums: Sums,
}

// === impl Detail ===

impl Detail {
    /// Reads a file; `None`: it has no rows.
    pub(super) fn read(path: &Path, reports: &[ReportLoads]) -> Result<Option<Self>, CommandError> {
        let fails = |problem: &dyn Display| format!("{}: {problem}", path.display());
        let mut reader = csv::Reader::from_path(path).map_err(|error| fails(&error))?;
        let header = reader.headers().map_err(|error| fails(&error))?;
        if !header.iter().eq(Column::NAMES) {
            return Err(fails(&"its columns are not those of the report").into());
        }
        let mut rows: Option<Rows<'_>> = None;
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| fails(&error))? {
            let row = Row { record: &record, number: rows.as_ref().map_or(1, |rows| rows.count + 1) };
            let rows = match &mut rows {
                Some(rows) => rows,
                none => none.insert(Rows::new(&row, reports).map_err(|problem| fails(&problem))?),
            };
            rows.add(&row).map_err(|problem| fails(&problem))?;
        }
        rows.map(|rows| rows.finish().map_err(|problem| fails(&problem).into())).transpose()
    }

    /// Holds a line against the rows.
    pub(super) fn check_line(&self, line: &Line, what: &str) -> Result<(), String> {
        let key = (line.meter_id.to_string(), line.billing_region.as_str().to_owned());
        let (quantity, trial, count) = self.sums.get(&key).cloned().unwrap_or_default();
        for (field, found, stated) in
            [("quantity", &quantity, &line.quantity), ("trial quantity", &trial, &line.trial_quantity)]
        {
            if found != stated {
                let (found, stated) = (plain(found), plain(stated));
                return Err(format!("{what} {}: the rows have a {field} of {found}, and it says {stated}", name(line)));
            }
        }
        if count != line.record_count {
            return Err(format!("{what} {}: there are {count} rows, and it says {}", name(line), line.record_count));
        }
        Ok(())
    }

    /// Whether all rows are in lines.
    pub(super) fn check_whole(&self, lines: &[&Line]) -> Result<(), String> {
        let mut left: BTreeMap<_, _> = self.sums.iter().collect();
        for line in lines {
            left.remove(&(line.meter_id.to_string(), line.billing_region.as_str().to_owned()));
        }
        match left.first_key_value() {
            None => Ok(()),
            Some(((meter, region), _)) => {
                Err(format!("there are rows of meter {meter} in {region} of tenant {}, and no line", self.tenant))
            }
        }
    }
}

struct Row<'a> {
    record: &'a StringRecord,
    number: u64,
}

// === impl Row ===

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> &'a str {
        let position = Column::NAMES.iter().position(|name| *name == column);
        position.and_then(|position| self.record.get(position)).unwrap_or_default()
    }

    fn value<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, String> {
        let text = self.text(column);
        text.parse().map_err(|error| format!("row {}: {column}: {text:?}: {error}", self.number))
    }

    /// The row as `usage` writes it without options: what loads are digested by.
    fn write_line(&self, line: &mut Vec<u8>) {
        let format = CsvFormat::default();
        for (index, text) in self.record.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            format.write_text(text, line);
        }
        line.extend_from_slice(format.line_end.as_bytes());
    }
}

/// The rows so far, load by load.
struct Rows<'a> {
    tenant: TenantId,
    month: Month,
    count: u64,
    sums: Sums,
    loads: std::slice::Iter<'a, ReportLoad>,
    /// The load that rows are of now, how many of its rows there were, and their digest.
    load: Option<(&'a ReportLoad, u64, Sha256)>,
    revision: Sha256,
    line: Vec<u8>,
}

// === impl Rows ===

impl<'a> Rows<'a> {
    fn new(first: &Row<'_>, reports: &'a [ReportLoads]) -> Result<Self, String> {
        let (tenant, month) = report_of(first)?;
        let is_of = |report: &&ReportLoads| report.tenant_id == tenant.to_string() && report.month == month.to_string();
        let report = reports.iter().find(is_of);
        let report = report.ok_or_else(|| format!("the statement has nothing of tenant {tenant} in {month}"))?;
        let mut revision = Sha256::new();
        revision.update(format!("{tenant} {month}\n"));
        let (loads, sums, line) = (report.loads.iter(), Sums::new(), Vec::new());
        Ok(Self { tenant, month, count: 0, sums, loads, load: None, revision, line })
    }

    fn add(&mut self, row: &Row<'_>) -> Result<(), String> {
        let start: UtcTime = row.value("start")?;
        if report_of(row)? != (self.tenant, self.month) {
            return Err(format!("row {} is of another tenant or month than the rows before", row.number));
        }
        let quantity: Decimal = row.value("quantity")?;
        let key = (row.text("meterId").to_owned(), row.text("billingRegion").to_owned());
        let (billable, trial, count) = self.sums.entry(key).or_default();
        let sum: &mut BigDecimal = if row.text("trial") == "TRUE" { trial } else { billable };
        *sum += quantity.to_big();
        *count += 1;
        self.count += 1;
        let load = match &mut self.load {
            Some(load) => load,
            none => {
                let next = self.loads.next().ok_or_else(|| format!("row {} is one too many", row.number))?;
                none.insert((next, 0, Sha256::new()))
            }
        };
        let (of, count, digest) = (load.0, &mut load.1, &mut load.2);
        if start.day().to_string() != of.usage_day {
            return Err(format!("row {} is not of {}, of which rows are missing", row.number, of.usage_day));
        }
        self.line.clear();
        row.write_line(&mut self.line);
        digest.update(&self.line);
        *count += 1;
        if *count == of.record_count { self.end_load() } else { Ok(()) }
    }

    fn end_load(&mut self) -> Result<(), String> {
        let Some((load, _, digest)) = self.load.take() else { return Ok(()) };
        let digest: [u8; 32] = digest.finalize().into();
        if hex(&digest) != load.digest {
            return Err(format!("the rows of {} from {} are not those that were billed", load.usage_day, load.source));
        }
        self.revision.update(format!("{} {} ", load.usage_day, load.source));
        self.revision.update(digest);
        Ok(())
    }

    fn finish(mut self) -> Result<Detail, String> {
        if let Some((load, ..)) = &self.load {
            return Err(format!("rows of {} from {} are missing at the end", load.usage_day, load.source));
        }
        if let Some(load) = self.loads.next() {
            return Err(format!("the rows of {} from {} are missing", load.usage_day, load.source));
        }
        let Self { tenant, month, count: row_count, sums, revision, .. } = self;
        Ok(Detail { tenant, month, revision: revision.finalize().into(), row_count, sums })
    }
}

/// The tenant and month of a row.
fn report_of(row: &Row<'_>) -> Result<(TenantId, Month), String> {
    let start: UtcTime = row.value("start")?;
    let month = Month::of(start.day()).ok_or_else(|| format!("row {}: start: is in no month", row.number))?;
    Ok((row.value("tenantId")?, month))
}
