//! Converts filters to the store's keys.

use crate::{
    model::UsageFilter,
    reports::{ReportError, meters, token::short_digest},
    store::{Meters, RecordFilter, Store, VisibleTenant},
};

/// Tells filters apart; the order and repetition of their values do not matter. Made of codes and texts with their
/// lengths, so that any replica, whatever it was built with, makes the same of the same filter.
pub(super) fn digest(filter: &UsageFilter) -> [u8; 8] {
    let mut content = Vec::new();
    let codes = |codes: Vec<i16>| codes.into_iter().map(|code| code.to_be_bytes().to_vec()).collect();
    let texts = |texts: &[String]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let lists: [Vec<Vec<u8>>; 4] = [
        codes(filter.asset_types.iter().map(|value| value.code()).collect()),
        texts(&filter.asset_ids),
        texts(&filter.meter_names),
        codes(filter.billing_regions.iter().map(|value| value.code()).collect()),
    ];
    for mut list in lists {
        list.sort_unstable();
        list.dedup();
        content.extend_from_slice(&(list.len() as u64).to_be_bytes());
        for value in list {
            content.extend_from_slice(&(value.len() as u64).to_be_bytes());
            content.extend_from_slice(&value);
        }
    }
    content.push(filter.trial.map_or(2, u8::from));
    short_digest(&content)
}

/// Converts the filter to the store's keys.
pub(super) async fn resolve(
    filter: &UsageFilter,
    store: &Store,
    tenant: &VisibleTenant,
    known: &Meters,
) -> Result<RecordFilter, ReportError> {
    let mut resolved = RecordFilter::default();
    if !filter.meter_names.is_empty() {
        resolved.meters(meters::named(&filter.meter_names, known)?);
    }
    if !filter.billing_regions.is_empty() {
        resolved.billing_regions(filter.billing_regions.iter().copied());
    }
    if !filter.asset_types.is_empty() {
        resolved.asset_types(filter.asset_types.iter().copied());
    }
    if !filter.asset_ids.is_empty() {
        resolved.assets(store.asset_keys(tenant, &filter.asset_ids).await?);
    }
    if let Some(trial) = filter.trial {
        resolved.trial(trial);
    }
    Ok(resolved)
}
