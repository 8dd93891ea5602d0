//! How many calls may run at once, and how much of their answers may wait to be read: in all, of one caller, and of the callers
//! of one organization.
//!
//! What is beyond a limit is refused at once, so that the calls that run keep their pace.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::policy::CallClass;
use crate::{auth::TenantScope, ingest::ImportLimits, model::OrganizationId};

#[derive(Clone, Debug)]
pub struct CallLimits {
    /// `GetDetailedUsage` and `GetCostBreakdown` streams.
    pub downloads: CallLimit,
    /// `ImportUsage` calls: each holds two database connections, memory and disk for sorting.
    pub imports: CallLimit,
    /// Other calls, running or waiting for a database connection.
    pub short_calls: CallLimit,
    /// Bytes of answers that wait to be read.
    pub unread_bytes: CallLimit,
    /// How long a response may wait for its reader, and a request take to arrive.
    pub stall: Duration,
    /// How long an importer may take between two messages.
    pub import_idle: Duration,
    /// How long an `ImportUsage` or `WithdrawUsage` call may take in all.
    pub import_duration: Duration,
    /// What an `ImportUsage` call may take.
    pub import: ImportLimits,
    /// Of one message of a request.
    pub request_bytes: usize,
}

/// How many calls may run at once, or how many bytes may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimit {
    /// Of all callers together.
    pub total: usize,
    /// Of one caller.
    pub per_caller: usize,
}

/// The permits for calls of every class, and for answers.
#[derive(Debug)]
pub(super) struct Permits {
    downloads: Arc<Pool>,
    imports: Arc<Pool>,
    short_calls: Arc<Pool>,
    unread_bytes: Arc<Pool>,
}

/// Of a caller with more organizations, so many count: each call takes a look at each of them.
const MAX_ORGANIZATIONS: usize = 16;

/// Whose permits count together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Caller(String),
    /// Callers that may see this organization.
    Organization(OrganizationId),
}

/// A caller, and its organizations unless they are all.
#[derive(Clone, Debug)]
pub(super) struct Holders(Vec<Holder>);

/// The permits of one kind.
#[derive(Debug)]
struct Pool {
    /// What is limited, in an error.
    name: &'static str,
    limit: CallLimit,
    total: Arc<Semaphore>,
    /// How much each holder has, if anything.
    held: Mutex<HashMap<Holder, usize>>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Pool>,
    holders: Holders,
    amount: u32,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitExceeded {
    /// All callers together have as many.
    Server { calls: &'static str, limit: usize },
    /// This caller alone has as many.
    Caller { calls: &'static str, limit: usize },
    /// The callers of one of this caller's organizations have as many.
    Organizations { calls: &'static str, limit: usize },
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
            unread_bytes: CallLimit { total: 64 << 20, per_caller: 16 << 20 },
            stall: Duration::from_secs(120),
            import_idle: Duration::from_secs(60),
            import_duration: Duration::from_secs(3600),
            import: ImportLimits { rows: 20_000_000, loads: 100_000, disk_bytes: 8 << 30, ..ImportLimits::default() },
            request_bytes: 4 << 20,
        }
    }
}

// === impl CallLimit ===

impl CallLimit {
    /// Of the callers of one organization: half, so that the others have the other half.
    fn per_organization(self) -> usize {
        self.total.div_ceil(2).max(self.per_caller)
    }
}

// === impl Permits ===

impl Permits {
    pub(super) fn new(limits: &CallLimits) -> Self {
        Self {
            downloads: Pool::new("downloads", limits.downloads),
            imports: Pool::new("imports", limits.imports),
            short_calls: Pool::new("calls", limits.short_calls),
            unread_bytes: Pool::new("bytes of unread answers", limits.unread_bytes),
        }
    }

    pub(super) fn acquire(&self, class: CallClass, holders: Holders) -> Result<Permit, LimitExceeded> {
        let pool = match class {
            CallClass::Download => &self.downloads,
            CallClass::Import => &self.imports,
            CallClass::Short => &self.short_calls,
        };
        pool.acquire(holders, 1)
    }

    /// For an answer that waits to be read.
    pub(super) fn acquire_bytes(&self, bytes: usize, holders: Holders) -> Result<Permit, LimitExceeded> {
        self.unread_bytes.acquire(holders, u32::try_from(bytes).unwrap_or(u32::MAX))
    }
}

// === impl Holders ===

impl Holders {
    /// `scope`: `None` for a call that needs none.
    pub(super) fn new(subject: &str, scope: Option<&TenantScope>) -> Self {
        let organizations = scope.and_then(TenantScope::organizations).unwrap_or_default();
        let organizations = organizations.iter().take(MAX_ORGANIZATIONS).map(|&id| Holder::Organization(id));
        Self(std::iter::once(Holder::Caller(subject.to_owned())).chain(organizations).collect())
    }
}

// === impl Pool ===

impl Pool {
    fn new(name: &'static str, limit: CallLimit) -> Arc<Self> {
        let total = Arc::new(Semaphore::new(limit.total.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { name, limit, total, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(self: &Arc<Self>, holders: Holders, amount: u32) -> Result<Permit, LimitExceeded> {
        let calls = self.name;
        let wanted = amount as usize;
        let mut held = self.held();
        for holder in &holders.0 {
            let (limit, exceeded) = match holder {
                Holder::Caller(_) => {
                    let limit = self.limit.per_caller;
                    (limit, LimitExceeded::Caller { calls, limit })
                }
                Holder::Organization(_) => {
                    let limit = self.limit.per_organization();
                    (limit, LimitExceeded::Organizations { calls, limit })
                }
            };
            if held.get(holder).copied().unwrap_or(0) + wanted > limit {
                return Err(exceeded);
            }
        }
        let permit = Arc::clone(&self.total).try_acquire_many_owned(amount);
        let permit = permit.map_err(|_| LimitExceeded::Server { calls, limit: self.limit.total })?;
        for holder in &holders.0 {
            *held.entry(holder.clone()).or_default() += wanted;
        }
        Ok(Permit { pool: Arc::clone(self), holders, amount, _permit: permit })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.pool.held();
        for holder in &self.holders.0 {
            if let Some(count) = held.get_mut(holder) {
                *count -= self.amount as usize;
                if *count == 0 {
                    held.remove(holder);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(subject: &str, organizations: &[u128]) -> Holders {
        let organizations =
            organizations.iter().map(|&id| Holder::Organization(OrganizationId::from_uuid(uuid::Uuid::from_u128(id))));
        Holders(std::iter::once(Holder::Caller(subject.to_owned())).chain(organizations).collect())
    }

    #[test]
    fn permits_are_limited_in_all_and_for_each_caller_and_come_back() {
        let downloads = CallLimit { total: 3, per_caller: 2 };
        let permits = Permits::new(&CallLimits { downloads, ..CallLimits::default() });
        let acquire = |caller| permits.acquire(CallClass::Download, holders(caller, &[]));
        let first = acquire("ann").expect("a permit");
        let _second = acquire("ann").expect("a permit");
        assert_eq!(acquire("ann").err(), Some(LimitExceeded::Caller { calls: "downloads", limit: 2 }));
        let _third = acquire("bob").expect("a permit");
        assert_eq!(acquire("bob").err(), Some(LimitExceeded::Server { calls: "downloads", limit: 3 }));
        assert!(permits.acquire(CallClass::Short, holders("bob", &[])).is_ok(), "each class has its own limit");
        drop(first);
        assert!(acquire("bob").is_ok());
        assert!(acquire("ann").is_ok());
        assert_eq!(permits.downloads.held().len(), 2, "callers without permits are forgotten");
    }

    #[test]
    fn callers_of_an_organization_share_half() {
        let downloads = CallLimit { total: 6, per_caller: 2 };
        let permits = Permits::new(&CallLimits { downloads, ..CallLimits::default() });
        let acquire =
            |caller, organizations: &[u128]| permits.acquire(CallClass::Download, holders(caller, organizations));
        let kept = [acquire("ann", &[1]), acquire("ann", &[1]), acquire("bob", &[1, 3])]
            .map(|permit| permit.expect("a permit"));
        let exceeded = Some(LimitExceeded::Organizations { calls: "downloads", limit: 3 });
        for organizations in [&[1][..], &[2, 1], &[1, 4]] {
            assert_eq!(acquire("carol", organizations).err(), exceeded, "{organizations:?}");
        }
        let _others = [acquire("dave", &[2]).expect("a permit"), acquire("staff", &[]).expect("a permit")];
        drop(kept);
        assert!(acquire("carol", &[1]).is_ok());
    }

    #[test]
    fn bytes_are_counted() {
        let unread_bytes = CallLimit { total: 250, per_caller: 100 };
        let permits = Permits::new(&CallLimits { unread_bytes, ..CallLimits::default() });
        let acquire = |bytes, caller| permits.acquire_bytes(bytes, holders(caller, &[]));
        let first = acquire(60, "ann").expect("room");
        let exceeded = LimitExceeded::Caller { calls: "bytes of unread answers", limit: 100 };
        assert_eq!(acquire(41, "ann").err(), Some(exceeded));
        let _more = [acquire(40, "ann").expect("room"), acquire(100, "bob").expect("room")];
        let exceeded = LimitExceeded::Server { calls: "bytes of unread answers", limit: 250 };
        assert_eq!(acquire(51, "carol").err(), Some(exceeded));
        assert!(acquire(usize::MAX, "carol").is_err());
        drop(first);
        assert!(acquire(51, "carol").is_ok());
    }
}
