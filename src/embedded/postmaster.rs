//! What is known of the server of a cluster: its file of the process, which a crash leaves behind, its process, and its socket.

use std::{fs, os::unix::net::UnixStream, path::Path};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// The file in which a server leaves the number of its process.
const PID_FILE: &str = "postmaster.pid";
/// The line of that file, counted from 0, that says how far the server is.
const STATUS_LINE: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    /// It starts, recovers or stops.
    Busy,
    Ready,
    /// The file is not written to its end, or nobody tells what the process is that it names.
    Doubtful,
    /// The file names a process that is not this server.
    Stale,
}

/// What the server of a cluster does.
pub(super) fn state(cluster: &Path, socket: &Path) -> State {
    let Some(text) = pid_file(cluster) else { return State::Stopped };
    let Some(process) = process(&text) else { return State::Doubtful };
    if !is_alive(process) {
        return State::Stopped;
    }
    // Only the server listens in that folder, since only its account can enter it.
    if UnixStream::connect(socket).is_ok() {
        let status = text.lines().nth(STATUS_LINE).unwrap_or_default().trim();
        return if matches!(status, "ready" | "standby") { State::Ready } else { State::Busy };
    }
    match works_in(process, cluster) {
        Some(true) => State::Busy,
        Some(false) => State::Stale,
        None => State::Doubtful,
    }
}

/// Whether there is no process that could be the server. Asks less than [`state`], and may be asked often.
pub(super) fn is_gone(cluster: &Path) -> bool {
    let process = pid_file(cluster).and_then(|text| process(&text));
    process.is_none_or(|process| !is_alive(process))
}

/// PostgreSQL without a server, for one user, has a minus before its number.
fn process(pid_file: &str) -> Option<Pid> {
    let number: i32 = pid_file.lines().next()?.trim().parse().ok()?;
    (number != 0).then(|| Pid::from_raw(number.saturating_abs()))
}

fn pid_file(cluster: &Path) -> Option<String> {
    fs::read_to_string(cluster.join(PID_FILE)).ok()
}

/// Removes the file that a crash has left behind.
pub(super) fn remove_pid_file(cluster: &Path) -> std::io::Result<()> {
    fs::remove_file(cluster.join(PID_FILE))
}

/// Whether there is such a process that this account may signal; a server's process is of this account.
fn is_alive(process: Pid) -> bool {
    !matches!(kill(process, None), Err(Errno::ESRCH | Errno::EPERM))
}

/// Whether a process has this working directory, as a server has that of its cluster. `None` where the system does not tell.
fn works_in(process: Pid, folder: &Path) -> Option<bool> {
    let found = fs::read_link(format!("/proc/{process}/cwd")).ok()?;
    Some(found == folder)
}
