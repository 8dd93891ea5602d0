//! Records of every kind, for property tests.

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Asset, AssetType, BillingRegion, Decimal, Meter, MeterId, OrganizationId, Platform, RecordDimensions, TenantId,
    UsageRecord, UtcTime,
};

/// Texts with what CSV, protobuf and spreadsheets make something of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c=+@,\"\r\n\t'\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20} -]{0,6}", "\\PC{0,12}", "[a-z]{100,300}"]
}

/// Moments to the second and finer, before and after 1970.
fn time() -> impl Strategy<Value = UtcTime> {
    let hours = (-5_000_i64..500_000).prop_map(|hours| hours * 3_600_000_000);
    let micros = -60_000_000_000_000_000_i64..250_000_000_000_000_000;
    prop_oneof![hours, Just(0), micros].prop_map(|micros| UtcTime::from_unix_micros(micros).expect("in range"))
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (any::<u128>(), 0_u32..=38, 0..=38_u8)
        .prop_map(|(number, digits, scale)| Decimal::new(number % 10_u128.pow(digits), scale).expect("in range"))
}

/// Records of one tenant, of few assets and meters, as reports have them.
pub(crate) fn records() -> impl Strategy<Value = Vec<UsageRecord>> {
    let asset = (prop::sample::select(AssetType::ALL), text(), "[a-z@.]{1,9}|\\PC{1,40}")
        .prop_map(|(asset_type, name, id)| Arc::new(Asset { asset_type, id, name }));
    let meter = (any::<u128>(), "[a-z_]{1,30}|\\PC{1,10}").prop_map(|(id, name)| {
        Arc::new(Meter { id: MeterId::from_uuid(uuid::Uuid::from_u128(id)), name, unit: String::new() })
    });
    let assets = prop::collection::vec(asset, 1..4);
    let meters = prop::collection::vec(meter, 1..4);
    (any::<(u128, u128)>(), assets, meters).prop_flat_map(|((organization, tenant), assets, meters)| {
        let record = (
            (prop::sample::select(assets), prop::sample::select(meters), time(), time(), decimal()),
            prop::sample::select(BillingRegion::ALL),
            prop::option::of(prop::sample::select(Platform::ALL)),
            any::<bool>(),
            prop::option::of(time()),
        );
        let record = record.prop_map(move |(parts, billing_region, platform, trial, trial_expiry)| {
            let (asset, meter, start, end, quantity) = parts;
            let organization_id = OrganizationId::from_uuid(uuid::Uuid::from_u128(organization));
            let tenant_id = TenantId::from_uuid(uuid::Uuid::from_u128(tenant));
            let dimensions = RecordDimensions { meter, start, end, billing_region, platform, trial, trial_expiry };
            UsageRecord { organization_id, tenant_id, asset, dimensions, quantity }
        });
        prop::collection::vec(record, 1..12)
    })
}
