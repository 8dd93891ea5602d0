//! Reads the records of a manifest's loads, in order, a range of blocks at a time and ahead of whoever uses them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::ReportError;
use crate::{
    database::DatabaseError,
    model::Month,
    store::{BLOCK_ROWS, BlockRange, Load, RecordBlock, RecordFilter, Store, StoreError, VisibleTenant, block_of},
};

/// How many blocks are read at a time, once the first one is there.
pub(super) const RANGE_BLOCKS: i32 = 8;
/// How many ranges are read while another one is used, each by a connection of its own: the database has its next
/// statement while what it has answered is taken apart.
const PREFETCHED_RANGES: usize = 2;
/// How many blocks are read at a time when a filter matches few of their records.
const MAX_RANGE_BLOCKS: i32 = 2 * RANGE_BLOCKS;

/// How long a statement goes on that nobody waits for any more. Most end within that, and their connections are good for
/// others; a cancelled one costs its connection.
pub const GIVE_UP_AFTER: Duration = Duration::from_millis(250);

/// Reads the loads of a tenant's month.
pub(super) struct BlockReader {
    store: Store,
    tenant: VisibleTenant,
    month: Month,
    loads: Arc<[Load]>,
    filter: RecordFilter,
    /// The following ranges, in order.
    prefetched: VecDeque<Prefetch>,
    /// The load that the next range to prefetch is in, and its last row before that.
    position: (usize, i32),
    range_blocks: i32,
}

/// Blocks that follow each other in a load.
pub(super) struct LoadBlocks {
    /// The index of the load.
    pub(super) load: usize,
    /// The last row before them, or before the position that was asked for.
    pub(super) after: i32,
    pub(super) blocks: Vec<RecordBlock>,
}

/// A range that is being read in the background. Dropping it cancels the statement after [`GIVE_UP_AFTER`].
struct Prefetch {
    load: usize,
    after: i32,
    blocks: JoinHandle<Result<Vec<RecordBlock>, StoreError>>,
}

// === impl BlockReader ===

impl BlockReader {
    /// Reads from a position on: the index of a load, and the last of its rows that is not wanted. Nothing is read yet.
    pub(super) fn new(
        store: Store,
        (tenant, month): (VisibleTenant, Month),
        loads: Arc<[Load]>,
        filter: RecordFilter,
        position: (usize, i32),
    ) -> Self {
        Self { store, tenant, month, loads, filter, prefetched: VecDeque::new(), position, range_blocks: 1 }
    }

    /// Begins to read the first range before anybody asks for it.
    pub(super) fn prefetch_first(&mut self) {
        let first = self.prefetch_next();
        self.prefetched.extend(first);
    }

    /// The next range; `None` after the last. `matched_records`: how many records of the range before passed the filter.
    pub(super) async fn next(&mut self, matched_records: usize) -> Result<Option<LoadBlocks>, StoreError> {
        let next = self.prefetched.pop_front().or_else(|| self.prefetch_next());
        let Some(mut prefetch) = next else { return Ok(None) };
        let blocks = prefetch.finish().await?;
        self.adapt_range(matched_records);
        while self.prefetched.len() < PREFETCHED_RANGES {
            let Some(prefetch) = self.prefetch_next() else { break };
            self.prefetched.push_back(prefetch);
        }
        Ok(Some(LoadBlocks { load: prefetch.load, after: prefetch.after, blocks }))
    }

    /// Starts to read the range after the last one.
    fn prefetch_next(&mut self) -> Option<Prefetch> {
        loop {
            let (index, after) = self.position;
            let load = self.loads.get(index)?;
            if after >= load.record_count {
                self.position = (index + 1, 0);
                continue;
            }
            let first = block_of(after + 1);
            let last = block_of(load.record_count).min(first.saturating_add(self.range_blocks - 1));
            let range = BlockRange { first, last };
            self.position.1 = load.record_count.min(last.saturating_mul(BLOCK_ROWS));
            let (store, tenant, month) = (self.store.clone(), self.tenant.clone(), self.month);
            let (load, filter) = (load.clone(), self.filter.clone());
            let blocks = async move { store.read_blocks(&tenant, month, &load, range, &filter).await };
            return Some(Prefetch { load: index, after, blocks: tokio::spawn(blocks.in_current_span()) });
        }
    }

    /// The first range is small, so that the first records come soon. If a filter matches few records, larger ranges
    /// are read.
    fn adapt_range(&mut self, matched_records: usize) {
        let threshold = usize::try_from(self.range_blocks * BLOCK_ROWS / 8).unwrap_or(0);
        // The first range has no result yet when the next one is requested.
        let few_match = !self.filter.is_empty() && self.range_blocks > 1 && matched_records < threshold;
        self.range_blocks = if few_match { MAX_RANGE_BLOCKS } else { RANGE_BLOCKS };
    }

    /// Explains an error in the middle of the loads: missing records may have been purged.
    pub(super) async fn explain(&self, error: ReportError) -> ReportError {
        let is_missing = matches!(error, ReportError::Store(StoreError::Corrupt(_)));
        if !is_missing {
            return error;
        }
        if self.store.are_purged(&self.tenant, &self.loads).await.unwrap_or(false) {
            return ReportError::Purged;
        }
        // Connections may lead to standbys with different replication lag.
        if self.store.is_standby().await.unwrap_or(false) {
            return StoreError::unavailable(format!("a standby is behind another one: {error}")).into();
        }
        error
    }
}

// === impl Prefetch ===

impl Prefetch {
    async fn finish(&mut self) -> Result<Vec<RecordBlock>, StoreError> {
        (&mut self.blocks).await.unwrap_or_else(|error| Err(DatabaseError::Failed(error.to_string()).into()))
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        let blocks = self.blocks.abort_handle();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !blocks.is_finished() => {
                drop(runtime.spawn(async move {
                    tokio::time::sleep(GIVE_UP_AFTER).await;
                    blocks.abort();
                }));
            }
            _ => blocks.abort(),
        }
    }
}
