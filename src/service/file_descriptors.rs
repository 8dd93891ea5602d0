//! Limits of the system that this program works under.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors that are used for other things than connections of callers: the database, logs, sorting.
const RESERVED_FILES: u64 = 128;

/// How many connections of callers there can be: as many as asked for, or as the system gives file descriptors for. The
/// soft limit on those is raised to the hard one, which is what it is for.
pub(super) fn max_connections(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    // More than this is not known to be needed, and a limit without end makes some libraries slow.
    let target = (wanted as u64).saturating_add(RESERVED_FILES).min(hard);
    let limit = if target > soft && setrlimit(Resource::RLIMIT_NOFILE, target, hard).is_ok() { target } else { soft };
    let room = usize::try_from(limit.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!("the system gives {limit} file descriptors: at most {room} connections, and not {wanted}");
    }
    wanted.min(room).max(1)
}
