//! How many calls may run at once, in all and of one caller.
//!
//! A call beyond a limit is refused at once, so that those that run keep their pace.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::policy::CallClass;

#[derive(Clone, Debug)]
pub struct CallLimits {
    /// `GetDetailedUsage` streams.
    pub downloads: CallLimit,
    /// `ImportUsage` calls: each holds two database connections, memory and disk for sorting.
    pub imports: CallLimit,
    /// Other calls, running or waiting for a database connection.
    pub short_calls: CallLimit,
    /// How long a response may wait for its reader, and a request take to arrive.
    pub stall: Duration,
    /// How long an importer may take between two messages.
    pub import_idle: Duration,
    /// Of one message of a request.
    pub request_bytes: usize,
}

/// How many calls may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimit {
    /// Of all callers together.
    pub total: usize,
    /// Of one caller.
    pub per_caller: usize,
}

/// The permits for calls of every class.
#[derive(Debug)]
pub(super) struct Permits {
    downloads: Arc<Pool>,
    imports: Arc<Pool>,
    short_calls: Arc<Pool>,
}

/// The permits for calls of one class.
#[derive(Debug)]
struct Pool {
    /// What the calls are, in an error.
    name: &'static str,
    limit: CallLimit,
    total: Arc<Semaphore>,
    /// How many permits each caller holds, if any.
    callers: Mutex<HashMap<String, usize>>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Pool>,
    caller: String,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitExceeded {
    /// All callers together have as many.
    Server { calls: &'static str, limit: usize },
    /// This caller alone has as many.
    Caller { calls: &'static str, limit: usize },
    /// This connection alone has as many as one may have.
    Connection { calls: &'static str, limit: usize },
}

// === impl CallLimits ===

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            downloads: CallLimit { total: 100, per_caller: 20 },
            imports: CallLimit { total: 4, per_caller: 3 },
            short_calls: CallLimit { total: 200, per_caller: 100 },
            stall: Duration::from_secs(120),
            import_idle: Duration::from_secs(60),
            request_bytes: 4 << 20,
        }
    }
}

// === impl Permits ===

impl Permits {
    pub(super) fn new(limits: &CallLimits) -> Self {
        Self {
            downloads: Pool::new("downloads", limits.downloads),
            imports: Pool::new("imports", limits.imports),
            short_calls: Pool::new("calls", limits.short_calls),
        }
    }

    pub(super) fn acquire(&self, class: CallClass, caller: &str) -> Result<Permit, LimitExceeded> {
        let pool = match class {
            CallClass::Download => &self.downloads,
            CallClass::Import => &self.imports,
            CallClass::Short => &self.short_calls,
        };
        pool.acquire(caller)
    }
}

// === impl Pool ===

impl Pool {
    fn new(name: &'static str, limit: CallLimit) -> Arc<Self> {
        let total = Arc::new(Semaphore::new(limit.total.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { name, limit, total, callers: Mutex::default() })
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(self: &Arc<Self>, caller: &str) -> Result<Permit, LimitExceeded> {
        let calls = self.name;
        let mut callers = self.callers();
        let held = callers.get(caller).copied().unwrap_or(0);
        if held >= self.limit.per_caller {
            return Err(LimitExceeded::Caller { calls, limit: self.limit.per_caller });
        }
        let permit = Arc::clone(&self.total).try_acquire_owned();
        let permit = permit.map_err(|_| LimitExceeded::Server { calls, limit: self.limit.total })?;
        callers.insert(caller.to_owned(), held + 1);
        Ok(Permit { pool: Arc::clone(self), caller: caller.to_owned(), _permit: permit })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut callers = self.pool.callers();
        if let Some(held) = callers.get_mut(&self.caller) {
            *held -= 1;
            if *held == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_in_all_and_for_each_caller_and_come_back() {
        let downloads = CallLimit { total: 3, per_caller: 2 };
        let permits = Permits::new(&CallLimits { downloads, ..CallLimits::default() });
        let acquire = |caller| permits.acquire(CallClass::Download, caller);
        let first = acquire("ann").expect("a permit");
        let _second = acquire("ann").expect("a permit");
        assert_eq!(acquire("ann").err(), Some(LimitExceeded::Caller { calls: "downloads", limit: 2 }));
        let _third = acquire("bob").expect("a permit");
        assert_eq!(acquire("bob").err(), Some(LimitExceeded::Server { calls: "downloads", limit: 3 }));
        assert!(permits.acquire(CallClass::Short, "bob").is_ok(), "each class has its own limit");
        drop(first);
        assert!(acquire("bob").is_ok());
        assert!(acquire("ann").is_ok());
        assert_eq!(permits.downloads.callers().len(), 2, "callers without permits are forgotten");
    }
}
