//! Connections of imports that have ended, for the next ones: a new one takes the database longer than a small import.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio_postgres::Client;

/// Then hosts are asked anew: what was the primary may be none any more.
const MAX_AGE: Duration = Duration::from_secs(300);

/// The two connections of an import.
pub(super) struct Connections {
    pub(super) publisher: Client,
    pub(super) lookups: Client,
    made_at: Instant,
}

/// No more than there were imports at once.
#[derive(Default)]
pub(super) struct IdleConnections(Mutex<Vec<Connections>>);

// === impl Connections ===

impl Connections {
    pub(super) fn new(publisher: Client, lookups: Client) -> Self {
        Self { publisher, lookups, made_at: Instant::now() }
    }

    fn are_usable(&self) -> bool {
        !self.publisher.is_closed() && !self.lookups.is_closed() && self.made_at.elapsed() < MAX_AGE
    }
}

// === impl IdleConnections ===

impl IdleConnections {
    /// Those that were given back last.
    pub(super) fn take(&self) -> Option<Connections> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connections::are_usable);
        idle.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connections::are_usable);
        idle.is_empty()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn give_back(&self, connections: Connections) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(connections);
    }
}
