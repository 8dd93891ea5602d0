//! How much may be asked of the server at once, in all and by one caller.
//!
//! A call that finds no place is refused at once, so that those that have one keep their pace.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::service::policy::Weight;

/// Limits on calls.
#[derive(Clone, Debug)]
pub struct CallLimits {
    /// `GetDetailedUsage` streams.
    pub downloads: Share,
    /// `ImportUsage` calls: each holds two database connections, memory and disk for sorting.
    pub imports: Share,
    /// Other calls, running or waiting for a database connection.
    pub short_calls: Share,
    /// How long a response may wait for its reader.
    pub stall: Duration,
    /// How long an importer may take between two messages.
    pub import_idle: Duration,
    /// How large one message of a request may be.
    pub request_bytes: usize,
}

/// How many calls there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Of everybody.
    pub total: usize,
    /// Of one caller.
    pub per_caller: usize,
}

/// The places for calls of every weight.
#[derive(Debug)]
pub(in crate::service) struct Places {
    downloads: Arc<Pool>,
    imports: Arc<Pool>,
    short_calls: Arc<Pool>,
}

/// The places for calls of one weight.
#[derive(Debug)]
struct Pool {
    /// What the calls are, in an error.
    name: &'static str,
    share: Share,
    total: Arc<Semaphore>,
    /// How many places each caller has who has any.
    callers: Mutex<HashMap<String, usize>>,
}

/// A place, given back when this is dropped.
#[derive(Debug)]
pub(in crate::service) struct Place {
    pool: Arc<Pool>,
    caller: String,
    _permit: OwnedSemaphorePermit,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Full {
    /// Too many callers ask for too much.
    Server { calls: &'static str, limit: usize },
    /// This caller does.
    Caller { calls: &'static str, limit: usize },
}

// === impl CallLimits ===

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            downloads: Share { total: 100, per_caller: 20 },
            imports: Share { total: 4, per_caller: 3 },
            short_calls: Share { total: 200, per_caller: 100 },
            stall: Duration::from_secs(120),
            import_idle: Duration::from_secs(60),
            request_bytes: 4 << 20,
        }
    }
}

// === impl Places ===

impl Places {
    pub(in crate::service) fn new(limits: &CallLimits) -> Self {
        Self {
            downloads: Pool::new("downloads", limits.downloads),
            imports: Pool::new("imports", limits.imports),
            short_calls: Pool::new("calls", limits.short_calls),
        }
    }

    pub(in crate::service) fn take(&self, weight: Weight, caller: &str) -> Result<Place, Full> {
        let pool = match weight {
            Weight::Download => &self.downloads,
            Weight::Import => &self.imports,
            Weight::Short => &self.short_calls,
        };
        pool.take(caller)
    }
}

// === impl Pool ===

impl Pool {
    fn new(name: &'static str, share: Share) -> Arc<Self> {
        let total = Arc::new(Semaphore::new(share.total.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { name, share, total, callers: Mutex::default() })
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, caller: &str) -> Result<Place, Full> {
        let calls = self.name;
        let mut callers = self.callers();
        let taken = callers.get(caller).copied().unwrap_or(0);
        if taken >= self.share.per_caller {
            return Err(Full::Caller { calls, limit: self.share.per_caller });
        }
        let permit = Arc::clone(&self.total).try_acquire_owned();
        let permit = permit.map_err(|_| Full::Server { calls, limit: self.share.total })?;
        callers.insert(caller.to_owned(), taken + 1);
        Ok(Place { pool: Arc::clone(self), caller: caller.to_owned(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self.pool.callers();
        if let Some(taken) = callers.get_mut(&self.caller) {
            *taken -= 1;
            if *taken == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_for_each_caller_and_come_back() {
        let share = Share { total: 3, per_caller: 2 };
        let places = Places::new(&CallLimits { downloads: share, ..CallLimits::default() });
        let take = |caller| places.take(Weight::Download, caller);
        let first = take("ann").expect("a place");
        let _second = take("ann").expect("a place");
        assert_eq!(take("ann").err(), Some(Full::Caller { calls: "downloads", limit: 2 }));
        let _third = take("bob").expect("a place");
        assert_eq!(take("bob").err(), Some(Full::Server { calls: "downloads", limit: 3 }));
        assert!(places.take(Weight::Short, "bob").is_ok(), "others are counted by themselves");
        drop(first);
        assert!(take("bob").is_ok());
        assert!(take("ann").is_ok());
        assert_eq!(places.downloads.callers().len(), 2, "those who have no place are forgotten");
    }
}
