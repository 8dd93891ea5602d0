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
/// Most tenants are small: whole loads are read together as long as they have no more rows than the blocks of a range, or these.
const SMALL_LOADS_ROWS: i32 = 2 * BLOCK_ROWS;
/// How many loads are read at a time.
const RANGE_LOADS: usize = 256;

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
    /// What was read of the last range and not asked for yet.
    ready: VecDeque<LoadBlocks>,
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
    /// The index of the first load, and its last row that is not wanted.
    position: (usize, i32),
    blocks: JoinHandle<Result<Vec<(usize, RecordBlock)>, StoreError>>,
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
        let (ready, prefetched) = (VecDeque::new(), VecDeque::new());
        Self { store, tenant, month, loads, filter, ready, prefetched, position, range_blocks: 1 }
    }

    /// Begins to read the first range before anybody asks for it.
    pub(super) fn prefetch_first(&mut self) {
        let first = self.prefetch_next();
        self.prefetched.extend(first);
    }

    /// The next blocks; `None` after the last. `matched_records`: how many records passed the filter since it was called before.
    pub(super) async fn next(&mut self, mut matched_records: usize) -> Result<Option<LoadBlocks>, StoreError> {
        loop {
            if let Some(blocks) = self.next_ready() {
                return Ok(Some(blocks));
            }
            let next = self.prefetched.pop_front().or_else(|| self.prefetch_next());
            let Some(mut prefetch) = next else { return Ok(None) };
            self.ready = prefetch.finish().await?;
            self.adapt_range(std::mem::take(&mut matched_records));
            while self.prefetched.len() < PREFETCHED_RANGES {
                let Some(prefetch) = self.prefetch_next() else { break };
                self.prefetched.push_back(prefetch);
            }
        }
    }

    /// The next blocks, if they were read together with those before.
    pub(super) fn next_ready(&mut self) -> Option<LoadBlocks> {
        self.ready.pop_front()
    }

    /// Starts to read the range after the last one: blocks of a load, or some whole loads.
    fn prefetch_next(&mut self) -> Option<Prefetch> {
        while self.position.1 >= self.loads.get(self.position.0)?.record_count {
            self.position = (self.position.0 + 1, 0);
        }
        let position @ (index, after) = self.position;
        let load = self.loads.get(index)?;
        let first = block_of(after + 1);
        let last = block_of(load.record_count).min(first.saturating_add(self.range_blocks - 1));
        let together = if after == 0 { self.whole_loads(index) } else { 0 };
        let (loads, range) = if together > 1 {
            self.position = (index + together, 0);
            (index..index + together, BlockRange { first, last: i32::MAX })
        } else {
            self.position.1 = load.record_count.min(last.saturating_mul(BLOCK_ROWS));
            (index..index + 1, BlockRange { first, last })
        };
        let (store, tenant, month) = (self.store.clone(), self.tenant.clone(), self.month);
        let (all, filter) = (Arc::clone(&self.loads), self.filter.clone());
        let blocks = async move { store.read_blocks(&tenant, month, &all[loads], range, &filter).await };
        Some(Prefetch { position, blocks: tokio::spawn(blocks.in_current_span()) })
    }

    /// How many loads from one on are small enough together to be read at a time.
    fn whole_loads(&self, first: usize) -> usize {
        let mut room = self.range_blocks.saturating_mul(BLOCK_ROWS).max(SMALL_LOADS_ROWS);
        let fits = |load: &&Load| {
            room = room.saturating_sub(load.record_count);
            room >= 0
        };
        self.loads[first..].iter().take(RANGE_LOADS).take_while(fits).count()
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
        let (may_be_elsewhere, may_come) = match &error {
            ReportError::Store(StoreError::Missing(_)) => (true, true),
            ReportError::Store(StoreError::Database(DatabaseError::Failed(_))) => (true, false),
            ReportError::Store(StoreError::Corrupt(_)) => (false, true),
            _ => return error,
        };
        if self.store.are_purged(&self.tenant, &self.loads).await.unwrap_or(false) {
            return ReportError::Purged;
        }
        if may_be_elsewhere && self.store.may_show_later(&self.tenant).await.unwrap_or(false) {
            tracing::warn!(%error, "a machine of Citus does not have what it should have");
            return StoreError::unavailable(format!("a machine does not have what it should have: {error}")).into();
        }
        // Connections may lead to standbys with different replication lag.
        if may_come && self.store.is_standby().await.unwrap_or(false) {
            return StoreError::unavailable(format!("a standby is behind another one: {error}")).into();
        }
        error
    }
}

// === impl Prefetch ===

impl Prefetch {
    /// The blocks, load by load. Loads without any are left out.
    async fn finish(&mut self) -> Result<VecDeque<LoadBlocks>, StoreError> {
        let read = (&mut self.blocks).await;
        let read = read.unwrap_or_else(|error| Err(DatabaseError::Failed(error.to_string()).into()))?;
        let (first, after) = self.position;
        let mut loads: VecDeque<LoadBlocks> = VecDeque::new();
        for (offset, block) in read {
            let load = first + offset;
            match loads.back_mut() {
                Some(last) if last.load == load => last.blocks.push(block),
                _ => loads.push_back(LoadBlocks {
                    load,
                    after: if offset == 0 { after } else { 0 },
                    blocks: vec![block],
                }),
            }
        }
        Ok(loads)
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
