//! Whether a row is sound, by itself and against the catalog.

use std::{collections::HashMap, fmt::Display, str::FromStr};

use super::{
    codec::CheckedRow,
    findings::{Findings, WarningKind},
    place::Place,
};
use crate::{
    model::{
        Columns, Decimal, InvalidDecimal, InvalidText, MAX_ASSET_ID_BYTES, MAX_ASSET_NAME_BYTES, Month, OrganizationId,
        TenantId, UtcTime, checked_text,
    },
    store::{ImportTenant, Meters},
};

/// A row as it came: a text for each column of the report, in the report's order.
pub type RawRecord<'a> = [&'a str; Columns::NAMES.len()];

/// The longest period of a record: a local day on which clocks are put back.
const MAX_PERIOD_HOURS: i64 = 25;
const MICROS_PER_HOUR: i64 = 3600 * 1_000_000;

/// What rows are checked against.
#[derive(Debug)]
pub struct Checker {
    tenants: HashMap<TenantId, ImportTenant>,
    meters: Meters,
}

/// The findings in one row.
struct Row<'a> {
    place: Place,
    findings: &'a mut Findings,
}

impl Row<'_> {
    fn refuse(&mut self, column: usize, value: &str, reason: impl Display) {
        self.findings.refuse(self.place, Columns::NAMES[column], value, &reason);
    }

    /// Values other than texts may have blanks around them: programs that align columns leave them there.
    fn read<T>(&mut self, column: usize, value: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let trimmed = value.trim_ascii();
        if trimmed.is_empty() {
            self.refuse(column, value, "is missing");
            return None;
        }
        read(trimmed).map_err(|reason| self.refuse(column, value, reason)).ok()
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, column: usize, value: &str) -> Option<T> {
        // Nearly all values are as they are written by us.
        value
            .parse()
            .ok()
            .or_else(|| self.read(column, value, |text| text.parse().map_err(|error: T::Err| error.to_string())))
    }

    /// An empty value is unset.
    fn parse_optional<T: FromStr<Err: Display>>(&mut self, column: usize, value: &str) -> Option<Option<T>> {
        if value.trim_ascii().is_empty() { Some(None) } else { self.parse(column, value).map(Some) }
    }
}

// The columns by their positions in the report.
const ORGANIZATION_ID: usize = 0;
const TENANT_ID: usize = 1;
const ASSET_NAME: usize = 2;
const ASSET_ID: usize = 3;
const ASSET_TYPE: usize = 4;
const METER_NAME: usize = 5;
const METER_ID: usize = 6;
const START: usize = 7;
const END: usize = 8;
const QUANTITY: usize = 9;
const BILLING_REGION: usize = 10;
const PLATFORM: usize = 11;
const TRIAL: usize = 12;
const TRIAL_EXPIRY: usize = 13;

impl Checker {
    pub(super) fn new(tenants: HashMap<TenantId, ImportTenant>, meters: Meters) -> Self {
        Self { tenants, meters }
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// A tenant that passed the check.
    pub(super) fn tenant(&self, id: TenantId) -> Option<ImportTenant> {
        self.tenants.get(&id).copied()
    }

    /// Checks a row. All of its problems are named, not only the first.
    pub(super) fn check<'r>(
        &self,
        place: Place,
        raw: &RawRecord<'r>,
        findings: &mut Findings,
    ) -> Option<CheckedRow<'r>> {
        let mut row = Row { place, findings };
        let tenant_id = self.check_tenant(raw, &mut row);
        let asset_name = check_text(ASSET_NAME, raw, 0, MAX_ASSET_NAME_BYTES, &mut row);
        let asset_id = check_text(ASSET_ID, raw, 1, MAX_ASSET_ID_BYTES, &mut row);
        let asset_type = row.parse(ASSET_TYPE, raw[ASSET_TYPE]);
        let meter = self.check_meter(raw, &mut row);
        let period = check_period(raw, &mut row);
        let quantity = check_quantity(raw, &mut row);
        let billing_region = row.parse(BILLING_REGION, raw[BILLING_REGION]);
        let platform = row.parse_optional(PLATFORM, raw[PLATFORM]);
        let is_bandwidth = meter.and_then(|at| self.meters.at(at)).is_none_or(|(_, meter)| meter.is_bandwidth());
        if matches!(platform, Some(Some(_))) && !is_bandwidth {
            row.refuse(PLATFORM, raw[PLATFORM], "only usage of bandwidth meters has a platform; leave it empty");
        }
        let trial = check_flag(raw, &mut row);
        let trial_expiry: Option<Option<UtcTime>> = row.parse_optional(TRIAL_EXPIRY, raw[TRIAL_EXPIRY]);
        let (start, end) = period?;
        let checked = CheckedRow {
            place,
            tenant_id: tenant_id?,
            asset_name: asset_name?,
            asset_id: asset_id?,
            asset_type: asset_type?,
            meter: u32::try_from(meter?).ok()?,
            start,
            end,
            quantity: quantity?,
            billing_region: billing_region?,
            platform: platform?.filter(|_| is_bandwidth),
            trial: trial?,
            trial_expiry: trial_expiry?,
        };
        if let (true, Some(expiry)) = (checked.trial, checked.trial_expiry)
            && start >= expiry
        {
            let example = || format!("it starts at {start}, and the trial expired at {expiry}");
            findings.warn(WarningKind::ExpiredTrial, place, example);
        }
        Some(checked)
    }

    fn check_tenant(&self, raw: &RawRecord<'_>, row: &mut Row<'_>) -> Option<TenantId> {
        let organization_id: Option<OrganizationId> = row.parse(ORGANIZATION_ID, raw[ORGANIZATION_ID]);
        let tenant_id: TenantId = row.parse(TENANT_ID, raw[TENANT_ID])?;
        let Some(tenant) = self.tenants.get(&tenant_id) else {
            row.refuse(TENANT_ID, raw[TENANT_ID], "there is no such tenant; declare it in the catalog");
            return None;
        };
        if tenant.organization_id != organization_id? {
            row.refuse(
                ORGANIZATION_ID,
                raw[ORGANIZATION_ID],
                format!("tenant {tenant_id} belongs to another organization"),
            );
            return None;
        }
        Some(tenant_id)
    }

    fn check_meter(&self, raw: &RawRecord<'_>, row: &mut Row<'_>) -> Option<usize> {
        let name = raw[METER_NAME];
        let id = row.parse(METER_ID, raw[METER_ID]);
        if name.is_empty() {
            row.refuse(METER_NAME, name, "is missing");
            return None;
        }
        let Some(position) = self.meters.find(name) else {
            row.refuse(METER_NAME, name, "there is no such meter; declare it in the catalog");
            return None;
        };
        let (_, meter) = self.meters.at(position)?;
        if meter.id != id? {
            row.refuse(METER_ID, raw[METER_ID], format!("meter {name} has the id {}", meter.id));
            return None;
        }
        Some(position)
    }
}

fn check_text<'r>(column: usize, raw: &RawRecord<'r>, min: usize, max: usize, row: &mut Row<'_>) -> Option<&'r str> {
    let value = raw[column];
    checked_text(value, min, max)
        .map_err(|error| match error {
            InvalidText::Empty => row.refuse(column, value, "is missing"),
            error => row.refuse(column, value, error),
        })
        .ok()
}

fn check_period(raw: &RawRecord<'_>, row: &mut Row<'_>) -> Option<(UtcTime, UtcTime)> {
    let start: Option<UtcTime> = row.parse(START, raw[START]);
    let end: Option<UtcTime> = row.parse(END, raw[END]);
    let (start, end) = (start?, end?);
    // Nearly all periods lie within a day, and so within its month.
    let is_within = |last: UtcTime| last.day_number() == start.day_number();
    if end > start && UtcTime::from_unix_micros(end.unix_micros() - 1).is_some_and(is_within) {
        return Some((start, end));
    }
    let month = Month::of(start.day())?;
    let reason = if end <= start {
        "the end must be after the start".to_owned()
    } else if end.unix_micros() - start.unix_micros() > MAX_PERIOD_HOURS * MICROS_PER_HOUR {
        format!("the period is longer than {MAX_PERIOD_HOURS} hours; split it")
    } else if end > month.end() {
        format!("the period reaches past the end of {month} (UTC); split it at {}", month.end())
    } else {
        return Some((start, end));
    };
    row.refuse(END, raw[END], reason);
    None
}

fn check_quantity(raw: &RawRecord<'_>, row: &mut Row<'_>) -> Option<Decimal> {
    let value = raw[QUANTITY];
    if let Ok(quantity) = value.parse() {
        return Some(quantity);
    }
    row.read(QUANTITY, value, |text| {
        text.parse().map_err(|error| match error {
            InvalidDecimal::Negative => {
                "is negative; to correct usage, deliver the whole day again with the quantities that are right"
                    .to_owned()
            }
            error => error.to_string(),
        })
    })
}

fn check_flag(raw: &RawRecord<'_>, row: &mut Row<'_>) -> Option<bool> {
    match raw[TRIAL] {
        "FALSE" => Some(false),
        "TRUE" => Some(true),
        value => row.read(TRIAL, value, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok(true),
            "false" | "f" | "0" => Ok(false),
            _ => Err("not TRUE or FALSE".to_owned()),
        }),
    }
}
