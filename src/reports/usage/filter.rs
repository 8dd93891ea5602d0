//! Filters of the detailed usage report.

use crate::{
    model::{AssetType, BillingRegion},
    reports::{InvalidField, ReportError, token::short_digest},
    store::{MeterKey, Meters, RecordFilter, Store, VisibleTenant},
};

/// Narrows a report. Every list that is not empty must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Of these types.
    pub asset_types: Vec<AssetType>,
    /// Of these assets.
    pub asset_ids: Vec<String>,
    /// Of these meters, by name.
    pub meter_names: Vec<String>,
    /// Billed in these regions.
    pub billing_regions: Vec<BillingRegion>,
    /// Only trial usage, or only other usage.
    pub trial: Option<bool>,
}

impl UsageFilter {
    /// The most asset ids, and the most meter names.
    pub const MAX_NAMES: usize = 1000;

    /// Tells filters apart; the order and repetition of their values do not matter. Made of codes and texts with their
    /// lengths, so that any replica, whatever it was built with, makes the same of the same filter.
    pub(super) fn digest(&self) -> [u8; 8] {
        let mut content = Vec::new();
        let codes = |codes: Vec<i16>| codes.into_iter().map(|code| code.to_be_bytes().to_vec()).collect();
        let texts = |texts: &[String]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let lists: [Vec<Vec<u8>>; 4] = [
            codes(self.asset_types.iter().map(|value| value.code()).collect()),
            texts(&self.asset_ids),
            texts(&self.meter_names),
            codes(self.billing_regions.iter().map(|value| value.code()).collect()),
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
        content.push(self.trial.map_or(2, u8::from));
        short_digest(&content)
    }

    /// The filter in the terms of the store.
    pub(super) async fn resolve(
        &self,
        store: &Store,
        tenant: &VisibleTenant,
        meters: &Meters,
    ) -> Result<RecordFilter, ReportError> {
        let mut filter = RecordFilter::default();
        if !self.meter_names.is_empty() {
            let mut keys: Vec<MeterKey> = Vec::with_capacity(self.meter_names.len());
            for (index, name) in self.meter_names.iter().enumerate() {
                let before = keys.len();
                keys.extend(meters.alike(name));
                if keys.len() == before {
                    let field = format!("filter.meter_names[{index}]");
                    return Err(InvalidField::new(field, format!("there is no meter {name:?}")).into());
                }
            }
            keys.sort_unstable();
            keys.dedup();
            filter.meters(keys);
        }
        if !self.billing_regions.is_empty() {
            filter.billing_regions(self.billing_regions.iter().copied());
        }
        if !self.asset_types.is_empty() {
            filter.asset_types(self.asset_types.iter().copied());
        }
        if !self.asset_ids.is_empty() {
            filter.assets(store.asset_keys(tenant, &self.asset_ids).await?);
        }
        if let Some(trial) = self.trial {
            filter.trial(trial);
        }
        Ok(filter)
    }
}
