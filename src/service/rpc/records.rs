//! Records of `ImportUsage` by the types of their columns.

use prost_types::Timestamp;

use crate::{
    contract::proto,
    ingest::{Intake, Row, RowReader},
    model::{AssetType, BillingRegion, Column, Platform},
};

/// Takes the records of a message in, the first of which has this number in the stream.
pub(super) fn take_in(mut intake: Intake, first: u64, records: &[proto::UsageRecord]) -> std::io::Result<Intake> {
    intake.look_up_tenants(records.iter().map(|record| record.tenant_id.as_str()))?;
    for (record, number) in records.iter().zip(first..) {
        intake.add(number, |reader| row(record, reader))?;
    }
    Ok(intake)
}

fn row<'r>(record: &'r proto::UsageRecord, reader: &mut RowReader<'_, 'r>) -> Row<'r> {
    let parts = |time: Option<Timestamp>| time.map(|time| (time.seconds, time.nanos));
    Row {
        organization_id: reader.parse(Column::OrganizationId, &record.organization_id),
        tenant_id: reader.parse(Column::TenantId, &record.tenant_id),
        asset_name: reader.text(Column::AssetName, &record.asset_name),
        asset_id: reader.text(Column::AssetId, &record.asset_id),
        asset_type: reader.code(Column::AssetType, record.asset_type, AssetType::from_code),
        meter_name: reader.text(Column::MeterName, &record.meter_name),
        meter_id: reader.parse(Column::MeterId, &record.meter_id),
        start: reader.time(Column::Start, parts(record.start)),
        end: reader.time(Column::End, parts(record.end)),
        quantity: reader.quantity(&record.quantity),
        billing_region: reader.code(Column::BillingRegion, record.billing_region, BillingRegion::from_code),
        platform: reader.optional_code(Column::Platform, record.platform, Platform::from_code),
        trial: Some(record.trial),
        trial_expiry: reader.optional_time(Column::TrialExpiry, parts(record.trial_expiry)),
    }
}
