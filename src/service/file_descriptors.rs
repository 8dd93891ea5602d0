//! The limit on open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors for other things than callers' connections: the database, logs, sorting.
const RESERVED_FILES: u64 = 128;

/// How many connections callers can have: as many as wanted, or as the system gives file descriptors for. Raises the soft
/// limit on those, up to the hard one.
pub(super) fn max_connections(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    // Not higher than needed: some libraries loop over all descriptors that there could be.
    let target = (wanted as u64).saturating_add(RESERVED_FILES).min(hard);
    let limit = if target > soft && setrlimit(Resource::RLIMIT_NOFILE, target, hard).is_ok() { target } else { soft };
    let room = usize::try_from(limit.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            "the limit of {limit} open files leaves room for {room} connections; --max-connections is {wanted}"
        );
    }
    wanted.min(room).max(1)
}
