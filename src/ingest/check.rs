//! A row whose values are of their types, and whether it is sound against itself and the catalog.

use super::{
    codec::CheckedRow,
    findings::WarningKind,
    limits::ImportMonths,
    record_location::RecordLocation,
    row::{RawRecord, RowReader},
    tenants::Tenants,
};
use crate::{
    model::{
        AssetType, BillingRegion, Column, Decimal, MeterId, Month, OrganizationId, Platform, RecordDimensions,
        TenantId, UtcTime,
    },
    store::Meters,
};

/// The longest period of a record: a local day on which clocks are put back.
const MAX_PERIOD_HOURS: i64 = 25;
const MICROS_PER_HOUR: i64 = 3600 * 1_000_000;

/// A row by its columns. `None`: the value was refused.
#[derive(Debug)]
pub struct Row<'a> {
    pub organization_id: Option<OrganizationId>,
    pub tenant_id: Option<TenantId>,
    pub asset_name: Option<&'a str>,
    pub asset_id: Option<&'a str>,
    pub asset_type: Option<AssetType>,
    pub meter_name: Option<&'a str>,
    pub meter_id: Option<MeterId>,
    pub start: Option<UtcTime>,
    pub end: Option<UtcTime>,
    pub quantity: Option<Decimal>,
    pub billing_region: Option<BillingRegion>,
    pub platform: Option<Option<Platform>>,
    pub trial: Option<bool>,
    pub trial_expiry: Option<Option<UtcTime>>,
}

/// What rows are checked against, besides the tenants that they name.
#[derive(Debug)]
pub struct Checker {
    meters: Meters,
    months: ImportMonths,
}

impl<'a> Row<'a> {
    /// Reads the texts of a file.
    pub(super) fn of_texts(texts: &RawRecord<'a>, reader: &mut RowReader<'_, 'a>) -> Self {
        let value = |column: Column| texts[column.index()];
        Self {
            organization_id: reader.parse(Column::OrganizationId, value(Column::OrganizationId)),
            tenant_id: reader.parse(Column::TenantId, value(Column::TenantId)),
            asset_name: reader.text(Column::AssetName, value(Column::AssetName)),
            asset_id: reader.text(Column::AssetId, value(Column::AssetId)),
            asset_type: reader.parse(Column::AssetType, value(Column::AssetType)),
            meter_name: reader.text(Column::MeterName, value(Column::MeterName)),
            meter_id: reader.parse(Column::MeterId, value(Column::MeterId)),
            start: reader.parse(Column::Start, value(Column::Start)),
            end: reader.parse(Column::End, value(Column::End)),
            quantity: reader.quantity(value(Column::Quantity)),
            billing_region: reader.parse(Column::BillingRegion, value(Column::BillingRegion)),
            platform: reader.parse_optional(Column::Platform, value(Column::Platform)),
            trial: reader.flag(value(Column::Trial)),
            trial_expiry: reader.parse_optional(Column::TrialExpiry, value(Column::TrialExpiry)),
        }
    }
}

impl Checker {
    pub(super) fn new(meters: Meters, months: ImportMonths) -> Self {
        Self { meters, months }
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Checks a row and reports all of its problems; `None` if it has any.
    pub(super) fn check<'r>(
        &self,
        location: RecordLocation,
        row: &Row<'r>,
        tenants: &Tenants,
        reader: &mut RowReader<'_, '_>,
    ) -> Option<CheckedRow<'r>> {
        let tenant_id = row.tenant_id.and_then(|id| check_tenant(row.organization_id, id, tenants, reader));
        let meter = row.meter_name.and_then(|name| self.check_meter(name, row.meter_id, reader));
        let is_in_months = row.start.is_some_and(|start| self.check_month(start, reader));
        let period = row.start.zip(row.end).and_then(|(start, end)| check_period(start, end, reader));
        let is_bandwidth = meter.and_then(|at| self.meters.at(at)).is_none_or(|(_, meter)| meter.is_bandwidth());
        if let Some(Some(platform)) = row.platform
            && !is_bandwidth
        {
            reader.refuse(Column::Platform, platform, "only usage of bandwidth meters has a platform; leave it empty");
        }
        let (start, end) = period.filter(|_| is_in_months)?;
        let checked = CheckedRow {
            location,
            tenant_id: tenant_id?,
            asset_name: row.asset_name?,
            asset_id: row.asset_id?,
            asset_type: row.asset_type?,
            dimensions: RecordDimensions {
                meter: u32::try_from(meter?).ok()?,
                start,
                end,
                billing_region: row.billing_region?,
                platform: row.platform?.filter(|_| is_bandwidth),
                trial: row.trial?,
                trial_expiry: row.trial_expiry?,
            },
            quantity: row.quantity?,
        };
        if let (true, Some(expiry)) = (checked.dimensions.trial, checked.dimensions.trial_expiry)
            && start >= expiry
        {
            reader
                .warn(WarningKind::ExpiredTrial, || format!("it starts at {start}, but the trial expired at {expiry}"));
        }
        Some(checked)
    }

    fn check_month(&self, start: UtcTime, reader: &mut RowReader<'_, '_>) -> bool {
        // The calendar has a month for each time that there is.
        let Some(month) = Month::of(start.day()) else { return false };
        let checked = self.months.check(month);
        checked.map_err(|refused| reader.refuse(Column::Start, start, refused)).is_ok()
    }

    fn check_meter(&self, name: &str, id: Option<MeterId>, reader: &mut RowReader<'_, '_>) -> Option<usize> {
        let Some(position) = self.meters.find(name) else {
            reader.refuse(Column::MeterName, name, "there is no such meter; declare it in the catalog");
            return None;
        };
        let (_, meter) = self.meters.at(position)?;
        let id = id?;
        if meter.id != id {
            reader.refuse(Column::MeterId, id, format!("meter {name} has the id {}", meter.id));
            return None;
        }
        Some(position)
    }
}

fn check_tenant(
    organization_id: Option<OrganizationId>,
    tenant_id: TenantId,
    tenants: &Tenants,
    reader: &mut RowReader<'_, '_>,
) -> Option<TenantId> {
    let Some(tenant) = tenants.get(tenant_id) else {
        reader.refuse(Column::TenantId, tenant_id, "there is no such tenant; declare it in the catalog");
        return None;
    };
    let organization_id = organization_id?;
    if tenant.organization_id != organization_id {
        let reason = format!("tenant {tenant_id} belongs to another organization");
        reader.refuse(Column::OrganizationId, organization_id, reason);
        return None;
    }
    Some(tenant_id)
}

fn check_period(start: UtcTime, end: UtcTime, reader: &mut RowReader<'_, '_>) -> Option<(UtcTime, UtcTime)> {
    // Nearly all periods lie within one day, and so within one month.
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
        format!("the period extends beyond the end of {month} (UTC); split it at {}", month.end())
    } else {
        return Some((start, end));
    };
    reader.refuse(Column::End, end, reason);
    None
}
