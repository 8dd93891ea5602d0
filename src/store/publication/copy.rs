//! Writes the records of an import.

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use tokio::sync::mpsc;
use tokio_postgres::{Client, Transaction};

use super::{assets::AssetKeys, places::Places};
use crate::{
    database::copy_in::{put_header, put_trailer},
    store::{
        AssetKey, Layout, NewLoad, RecordToWrite, StoreError,
        blocks::{BlockWriter, LoadLocation, StoredDimensions, copy_blocks},
    },
};

const COPY_BUFFER_BYTES: usize = 256 << 10;

/// Writes the records, while the assets of those behind them are looked up; returns how many there were.
pub(super) async fn copy_records(
    transaction: &Transaction<'_>,
    (lookups, layout): (&Client, Layout),
    loads: &[NewLoad],
    ids: &[i64],
    mut records: mpsc::Receiver<Vec<RecordToWrite>>,
    written: impl Fn(u64),
) -> Result<u64, StoreError> {
    let (send, mut resolved) = mpsc::channel::<(Vec<RecordToWrite>, Vec<AssetKey>)>(1);
    let places = Places::of(lookups, layout, loads.iter().map(|load| load.key.tenant)).await?;
    let resolve = async move {
        let mut assets = AssetKeys::new(lookups, places).await?;
        while let Some(batch) = records.recv().await {
            let keys = assets.resolve(&batch, |record| loads[record.load].key.tenant).await?;
            if send.send((batch, keys)).await.is_err() {
                break;
            }
        }
        assets.finish().await
    };
    let write = async move {
        let sink = transaction.copy_in::<_, Bytes>(&copy_blocks()).await?;
        let mut sink = std::pin::pin!(sink);
        let mut buffer = BytesMut::with_capacity(COPY_BUFFER_BYTES * 2);
        put_header(&mut buffer);
        let mut block = BlockWriter::default();
        let mut block_load = 0;
        let location = |load: usize| LoadLocation {
            tenant_key: loads[load].key.tenant.0,
            load_id: ids[load],
            usage_month: loads[load].month.first_day(),
        };
        let mut count = 0_u64;
        while let Some((batch, keys)) = resolved.recv().await {
            for (record, asset) in batch.iter().zip(keys) {
                if record.load != block_load || block.is_full() {
                    block.finish_block(&location(block_load), &mut buffer);
                    block_load = record.load;
                }
                let dimensions =
                    StoredDimensions { asset_type: record.asset.asset_type, dimensions: record.dimensions.clone() };
                block.push(record.row_number, asset, dimensions, record.quantity);
                if buffer.len() >= COPY_BUFFER_BYTES {
                    sink.send(buffer.split().freeze()).await?;
                }
            }
            count += batch.len() as u64;
            written(batch.len() as u64);
        }
        block.finish_block(&location(block_load), &mut buffer);
        put_trailer(&mut buffer);
        sink.send(buffer.freeze()).await?;
        sink.finish().await?;
        Ok(count)
    };
    let ((), count) = tokio::try_join!(resolve, write)?;
    Ok(count)
}
