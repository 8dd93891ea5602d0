//! What the parts of a report must be for the request that it answers.

use std::collections::HashSet;

use super::{ClientError, UsageQuery};
use crate::{
    contract::proto::ReportHeader,
    model::{
        AssetType, BillingRegion, MAX_ASSET_ID_BYTES, MAX_ASSET_NAME_BYTES, MAX_METER_NAME_BYTES, Month,
        OrganizationId, TenantId, UsageFilter, UsageRecord, UtcTime, composed,
    },
};

const REVISION_DIGITS: usize = 64;

/// What records are held against. The default accepts all.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordCheck {
    tenant: Option<(OrganizationId, TenantId)>,
    month: Option<Month>,
    filter: UsageFilter,
    /// Of the filter, [composed].
    asset_ids: HashSet<String>,
    meter_names: HashSet<String>,
}

/// Checks a header by itself; returns the organization that the report is of.
pub(super) fn check_header(header: &ReportHeader, query: &UsageQuery) -> Result<OrganizationId, ClientError> {
    let UsageQuery { tenant_id, month, as_of, .. } = query;
    if header.tenant_id != tenant_id.to_string() {
        return Err(ClientError::wrong(format!("it is of tenant {:?}, not of {tenant_id}", header.tenant_id)));
    }
    if header.month != Some((*month).into()) {
        let (year, number) = header.month.map(|month| (month.year, month.month)).unwrap_or_default();
        return Err(ClientError::wrong(format!("it is of {year:04}-{number:02}, not of {month}")));
    }
    check_revision(&header.revision)?;
    if header.record_count < 0 || !(0..=header.record_count).contains(&header.resumed_record_count) {
        let counts = (header.resumed_record_count, header.record_count);
        return Err(ClientError::malformed("record_count", counts));
    }
    let data_as_of = header.data_as_of.map(|time| UtcTime::from_unix(time.seconds, time.nanos)).transpose();
    let data_as_of = data_as_of.map_err(|error| ClientError::malformed("data_as_of", error.to_string()))?;
    check_as_of(data_as_of, *as_of)?;
    if data_as_of.is_none() && header.record_count > 0 {
        return Err(ClientError::malformed("data_as_of", "none"));
    }
    header.organization_id.parse().map_err(|_| ClientError::malformed("organization_id", &header.organization_id))
}

/// A moment that has one; `None`: it is missing, or none.
pub(super) fn moment(time: Option<prost_types::Timestamp>) -> Option<UtcTime> {
    time.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok())
}

pub(super) fn check_revision(revision: &str) -> Result<(), ClientError> {
    let is_one = revision.len() == REVISION_DIGITS && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_one { Ok(()) } else { Err(ClientError::malformed("revision", revision)) }
}

/// Data that was published after the moment that was asked for is not of that moment.
pub(super) fn check_as_of(published: Option<UtcTime>, as_of: Option<UtcTime>) -> Result<(), ClientError> {
    match (published, as_of) {
        (Some(published), Some(as_of)) if published > as_of => {
            Err(ClientError::wrong(format!("it has data of {published}, and not as of {as_of}")))
        }
        _ => Ok(()),
    }
}

// === impl RecordCheck ===

impl RecordCheck {
    pub(super) fn new(organization_id: OrganizationId, query: &UsageQuery) -> Self {
        let names = |names: &[String]| names.iter().map(|name| composed(name).into_owned()).collect();
        Self {
            tenant: Some((organization_id, query.tenant_id)),
            month: Some(query.month),
            asset_ids: names(&query.filter.asset_ids),
            meter_names: names(&query.filter.meter_names),
            filter: query.filter.clone(),
        }
    }

    /// Whether [`asset`](Self::asset) may refuse anything.
    pub(super) fn filters_assets(&self) -> bool {
        !self.filter.asset_types.is_empty() || !self.asset_ids.is_empty()
    }

    pub(super) fn tenant(&self, organization_id: OrganizationId, tenant_id: TenantId) -> Result<(), ClientError> {
        match self.tenant {
            Some(asked) if asked != (organization_id, tenant_id) => {
                Err(ClientError::wrong(format!("a record is of tenant {tenant_id} of organization {organization_id}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn asset(&self, asset_type: AssetType, id: &str, name: &str) -> Result<(), ClientError> {
        check_length("assetId", id, MAX_ASSET_ID_BYTES)?;
        self.name(name)?;
        let types = &self.filter.asset_types;
        let is_asked = (types.is_empty() || types.contains(&asset_type))
            && (self.asset_ids.is_empty() || self.asset_ids.contains(composed(id).as_ref()));
        if is_asked { Ok(()) } else { Err(filtered("assetId", id)) }
    }

    pub(super) fn name(&self, name: &str) -> Result<(), ClientError> {
        check_length("assetName", name, MAX_ASSET_NAME_BYTES)
    }

    pub(super) fn meter(&self, name: &str) -> Result<(), ClientError> {
        check_length("meterName", name, MAX_METER_NAME_BYTES)?;
        let is_asked = self.meter_names.is_empty() || self.meter_names.contains(composed(name).as_ref());
        if is_asked { Ok(()) } else { Err(filtered("meterName", name)) }
    }

    pub(super) fn period(&self, start: UtcTime, end: UtcTime) -> Result<(), ClientError> {
        let Some(month) = self.month else { return Ok(()) };
        if UtcTime::midnight(month.first_day()) <= start && start < end && end <= month.end() {
            return Ok(());
        }
        Err(ClientError::wrong(format!("a record is of {start} to {end}, which is not in {month}")))
    }

    /// Whether a record of this day may follow one of the day before. (Within a day, the order starts again with each source.)
    #[inline]
    pub(super) fn may_follow(&self, before: i32, day: i32) -> bool {
        before <= day || self.month.is_none()
    }

    pub(super) fn days(&self, before: i32, day: i32) -> Result<(), ClientError> {
        let is_in_order = self.may_follow(before, day);
        if is_in_order { Ok(()) } else { Err(ClientError::wrong("its records are not in the order of their days")) }
    }

    pub(super) fn attributes(&self, billing_region: BillingRegion, trial: bool) -> Result<(), ClientError> {
        let regions = &self.filter.billing_regions;
        if !regions.is_empty() && !regions.contains(&billing_region) {
            return Err(filtered("billingRegion", billing_region.as_str()));
        }
        if self.filter.trial.is_some_and(|asked| asked != trial) {
            return Err(filtered("trial", if trial { "TRUE" } else { "FALSE" }));
        }
        Ok(())
    }

    /// All of a record, but for its place among others.
    pub(super) fn record(&self, record: &UsageRecord) -> Result<(), ClientError> {
        self.asset(record.asset.asset_type, &record.asset.id, &record.asset.name)?;
        self.besides_asset(record)
    }

    /// What a record is beside its asset.
    pub(super) fn besides_asset(&self, record: &UsageRecord) -> Result<(), ClientError> {
        let dimensions = &record.dimensions;
        self.tenant(record.organization_id, record.tenant_id)?;
        self.meter(&dimensions.meter.name)?;
        self.period(dimensions.start, dimensions.end)?;
        self.attributes(dimensions.billing_region, dimensions.trial)
    }
}

/// The lengths of the contract: of what is kept, there is no more.
fn check_length(column: &str, value: &str, max_bytes: usize) -> Result<(), ClientError> {
    if value.len() <= max_bytes {
        return Ok(());
    }
    Err(ClientError::wrong(format!("a record has the {column} of {} bytes; the maximum is {max_bytes}", value.len())))
}

fn filtered(column: &str, value: &str) -> ClientError {
    ClientError::wrong(format!("a record has the {column} {value:?}, which the filter leaves out"))
}
