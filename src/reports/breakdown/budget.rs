//! How many groups a server keeps at once, of all breakdowns together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::reports::ReportError;

/// What a group or an asset takes, about; and so much of assets' ids and names counts as one more.
pub(super) const GROUP_BYTES: usize = 128;
/// Of all breakdowns together: 512 MiB.
const MAX_IN_ALL: usize = (512 << 20) / GROUP_BYTES;
/// What a breakdown keeps without asking. Most months have fewer.
const FREE: usize = 4096;
/// How many more are asked for at a time.
const STEP: usize = 64 << 10;

/// What all breakdowns of a server share.
#[derive(Clone, Debug)]
pub struct GroupBudget(Arc<Semaphore>);

/// What one of them has. Given back when it is dropped.
#[derive(Debug)]
pub(in crate::reports) struct GroupPermit {
    budget: GroupBudget,
    covered: usize,
    permits: Option<OwnedSemaphorePermit>,
}

// === impl GroupBudget ===

impl Default for GroupBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_IN_ALL)))
    }
}

impl GroupBudget {
    pub(in crate::reports) fn permit(&self) -> GroupPermit {
        GroupPermit { budget: self.clone(), covered: FREE, permits: None }
    }
}

// === impl GroupPermit ===

impl GroupPermit {
    /// Makes sure that there is room for so many.
    pub(in crate::reports) fn cover(&mut self, count: usize) -> Result<(), ReportError> {
        while self.covered < count {
            let step = u32::try_from(STEP).unwrap_or(u32::MAX);
            let more = Arc::clone(&self.budget.0).try_acquire_many_owned(step).map_err(|_| ReportError::Overloaded)?;
            match &mut self.permits {
                Some(permits) => permits.merge(more),
                None => self.permits = Some(more),
            }
            self.covered += STEP;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_breakdowns_share_what_there_is_and_small_ones_need_nothing() {
        let budget = GroupBudget::default();
        let mut large: Vec<GroupPermit> = (0..4).map(|_| budget.permit()).collect();
        for permit in &mut large {
            permit.cover(1_000_000).unwrap();
            permit.cover(1_000_000).unwrap();
        }
        let mut next = budget.permit();
        next.cover(FREE).unwrap();
        assert!(matches!(next.cover(1_000_000), Err(ReportError::Overloaded)));
        large.pop();
        next.cover(1_000_000).unwrap();
        drop((large, next));
        assert_eq!(budget.0.available_permits(), MAX_IN_ALL);
    }
}
