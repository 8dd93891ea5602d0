//! Turns of bills: each holds a connection for as long as it is read, and other calls need connections, too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;
use crate::model::OrganizationId;

/// Organizations without bills are forgotten when there are more.
const MAX_IDLE: usize = 1000;

/// How many bills are read at once.
pub(super) struct CostTurns {
    all: Arc<Semaphore>,
    /// How many of one organization, so that it does not take all.
    each: usize,
    organizations: Mutex<HashMap<OrganizationId, Weak<Semaphore>>>,
}

/// Given back when it is dropped.
pub(super) struct CostTurn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    /// There while somebody has a turn or waits for one.
    _organization: Arc<Semaphore>,
}

// === impl CostTurns ===

impl CostTurns {
    /// Half of the connections at once, and a quarter for one organization.
    pub(super) fn new(connections: usize) -> Self {
        let all = (connections / 2).max(1);
        Self { all: Arc::new(Semaphore::new(all)), each: (all / 2).max(1), organizations: Mutex::default() }
    }

    /// Waits for a turn, but no longer than `limit`.
    pub(super) async fn take(&self, organization: OrganizationId, limit: Duration) -> Result<CostTurn, StoreError> {
        let own = self.of(organization);
        let turns = async {
            // Those of an organization wait among themselves first.
            let turn = Arc::clone(&own).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>((turn, Arc::clone(&self.all).acquire_owned().await?))
        };
        match tokio::time::timeout(limit, turns).await {
            Ok(Ok((turn, all))) => Ok(CostTurn { _own: turn, _all: all, _organization: own }),
            _ => Err(StoreError::unavailable("all connections for bills are in use")),
        }
    }

    fn of(&self, organization: OrganizationId) -> Arc<Semaphore> {
        let mut organizations = self.organizations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = organizations.get(&organization).and_then(Weak::upgrade) {
            return own;
        }
        if organizations.len() >= MAX_IDLE {
            organizations.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.each));
        organizations.insert(organization, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_organization_leaves_turns_for_others() {
        let turns = CostTurns::new(8);
        let [ann, bob] = [1, 2].map(|number| OrganizationId::from_uuid(uuid::Uuid::from_u128(number)));
        let soon = Duration::from_millis(10);
        let first = turns.take(ann, soon).await.unwrap();
        let _second = turns.take(ann, soon).await.unwrap();
        assert!(turns.take(ann, soon).await.is_err(), "a quarter of eight");
        let _others = [turns.take(bob, soon).await.unwrap(), turns.take(bob, soon).await.unwrap()];
        drop(first);
        assert!(turns.take(ann, soon).await.is_ok());
    }

    #[tokio::test]
    async fn one_connection_is_enough() {
        let turns = CostTurns::new(1);
        let ann = OrganizationId::from_uuid(uuid::Uuid::from_u128(1));
        drop(turns.take(ann, Duration::ZERO).await.unwrap());
        assert!(turns.take(ann, Duration::ZERO).await.is_ok());
    }

    #[tokio::test]
    async fn organizations_are_forgotten() {
        let turns = CostTurns::new(4);
        for number in 0..3 * MAX_IDLE as u128 {
            let organization = OrganizationId::from_uuid(uuid::Uuid::from_u128(number));
            drop(turns.take(organization, Duration::ZERO).await.unwrap());
        }
        assert!(turns.organizations.lock().unwrap().len() <= MAX_IDLE);
    }
}
