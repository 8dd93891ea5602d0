//! `GetDetailedUsage`: its messages are encoded without a detour through generated types.

mod asset_cache;
mod encoder;
mod packing;
mod stream;

pub(in crate::service) use asset_cache::fetch_assets;
pub(in crate::service) use stream::{PREFIX_BYTES, UsageStream};
pub use {
    asset_cache::{AssetCache, CurrentAssets},
    encoder::RecordEncoder,
};
