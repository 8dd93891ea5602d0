//! Requests, parsed: every field becomes a value that cannot be wrong, or an error that names it.

use std::{fmt::Display, str::FromStr};

use chrono::NaiveDate;
use prost_types::Timestamp;

use crate::{
    contract::proto,
    model::{
        AssetType, BillingRegion, MAX_ASSET_ID_BYTES, Month, MonthRange, Source, TenantId, UsageDay, UsageFilter,
        UtcTime, checked_text,
    },
    reports::{CostsRequest, InvalidField, PageSize, TenantsRequest, UsageRequest},
};

/// As long as the catalog allows.
const MAX_METER_NAME_BYTES: usize = 128;
const TENANTS_PAGE: (u16, u16) = (100, 1000);
const COSTS_PAGE: (u16, u16) = (5000, 5000);

impl TryFrom<proto::ListTenantsRequest> for TenantsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::ListTenantsRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            organization_id: optional("organization_id", &request.organization_id)?,
            page_size: page_size(request.page_size, TENANTS_PAGE)?,
            search: request.search,
            page_token: request.page_token,
        })
    }
}

impl TryFrom<proto::GetDetailedUsageRequest> for UsageRequest {
    type Error = InvalidField;

    fn try_from(request: proto::GetDetailedUsageRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            tenant_id: required("tenant_id", &request.tenant_id)?,
            month: month("month", request.month)?.ok_or_else(|| missing("month"))?,
            filter: filter(request.filter.unwrap_or_default())?,
            as_of: moment("as_of", request.as_of)?,
            resume_token: request.resume_token,
        })
    }
}

impl TryFrom<proto::GetMonthlyCostsRequest> for CostsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::GetMonthlyCostsRequest) -> Result<Self, InvalidField> {
        let start = month("start_month", request.start_month)?.ok_or_else(|| missing("start_month"))?;
        let end = month("end_month", request.end_month)?.unwrap_or(start);
        Ok(Self {
            organization_id: required("organization_id", &request.organization_id)?,
            tenant_id: optional("tenant_id", &request.tenant_id)?,
            months: MonthRange::new(start, end).map_err(|error| InvalidField::new("end_month", error))?,
            as_of: moment("as_of", request.as_of)?,
            page_size: page_size(request.page_size, COSTS_PAGE)?,
            page_token: request.page_token,
        })
    }
}

/// What to take back.
pub(in crate::service) struct WithdrawRequest {
    pub(in crate::service) tenant_id: TenantId,
    pub(in crate::service) usage_day: NaiveDate,
    pub(in crate::service) source: Source,
}

impl TryFrom<proto::WithdrawUsageRequest> for WithdrawRequest {
    type Error = InvalidField;

    fn try_from(request: proto::WithdrawUsageRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            tenant_id: required("tenant_id", &request.tenant_id)?,
            usage_day: required::<UsageDay>("usage_day", &request.usage_day)?.into(),
            source: source(&request.source)?,
        })
    }
}

/// Who delivers.
pub(in crate::service) fn source(text: &str) -> Result<Source, InvalidField> {
    Ok(optional("source", text)?.unwrap_or_default())
}

fn filter(filter: proto::UsageFilter) -> Result<UsageFilter, InvalidField> {
    for (field, count) in
        [("filter.asset_ids", filter.asset_ids.len()), ("filter.meter_names", filter.meter_names.len())]
    {
        if count > UsageFilter::MAX_NAMES {
            let reason = format!("has {count} entries; at most {} can be", UsageFilter::MAX_NAMES);
            return Err(InvalidField::new(field, reason));
        }
    }
    for (index, name) in filter.meter_names.iter().enumerate() {
        checked_text(name, 1, MAX_METER_NAME_BYTES)
            .map_err(|error| InvalidField::new(format!("filter.meter_names[{index}]"), error))?;
    }
    for (index, id) in filter.asset_ids.iter().enumerate() {
        checked_text(id, 1, MAX_ASSET_ID_BYTES)
            .map_err(|error| InvalidField::new(format!("filter.asset_ids[{index}]"), error))?;
    }
    Ok(UsageFilter {
        asset_types: codes("filter.asset_types", &filter.asset_types, AssetType::from_code)?,
        asset_ids: filter.asset_ids,
        meter_names: filter.meter_names,
        billing_regions: codes("filter.billing_regions", &filter.billing_regions, BillingRegion::from_code)?,
        trial: filter.trial,
    })
}

/// The values of numbers, each once.
fn codes<T: Ord>(field: &str, codes: &[i32], from_code: impl Fn(i32) -> Option<T>) -> Result<Vec<T>, InvalidField> {
    let known = |(index, &code): (usize, &i32)| {
        from_code(code)
            .ok_or_else(|| InvalidField::new(format!("{field}[{index}]"), format!("there is no value {code}")))
    };
    let mut values = codes.iter().enumerate().map(known).collect::<Result<Vec<T>, _>>()?;
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

fn missing(field: &str) -> InvalidField {
    InvalidField::new(field, "is required")
}

fn required<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, InvalidField> {
    optional(field, text)?.ok_or_else(|| missing(field))
}

fn optional<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<Option<T>, InvalidField> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|error: T::Err| InvalidField::new(field, error))
}

fn page_size(asked: i32, (default, max): (u16, u16)) -> Result<PageSize, InvalidField> {
    PageSize::new(asked, default, max).map_err(|error| InvalidField::new("page_size", error))
}

fn month(field: &str, month: Option<proto::YearMonth>) -> Result<Option<Month>, InvalidField> {
    let parsed = month.map(|month| Month::new(month.year, month.month)).transpose();
    parsed.map_err(|error| InvalidField::new(field, error))
}

/// A moment to fix a report to. Clocks that count nanoseconds are welcome: what is finer than a microsecond is cut off.
fn moment(field: &str, time: Option<Timestamp>) -> Result<Option<UtcTime>, InvalidField> {
    let cut = |time: Timestamp| UtcTime::from_unix(time.seconds, time.nanos - time.nanos.max(0) % 1_000);
    time.map(cut).transpose().map_err(|error| InvalidField::new(field, error))
}
