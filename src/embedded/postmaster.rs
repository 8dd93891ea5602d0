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
    let text = pid_file(cluster);
    // Only the server listens in that folder, since only its account can enter it. It may run where its process is not seen, in
    // another container.
    if UnixStream::connect(socket).is_ok() {
        let status = text.as_deref().and_then(|text| text.lines().nth(STATUS_LINE)).unwrap_or_default();
        return if matches!(status.trim(), "ready" | "standby") { State::Ready } else { State::Busy };
    }
    let Some(text) = text else { return State::Stopped };
    let Some(process) = process(&text) else { return State::Doubtful };
    if !is_alive(process) {
        return State::Stopped;
    }
    match works_in(process, cluster) {
        Some(true) => State::Busy,
        Some(false) => State::Stale,
        None => State::Doubtful,
    }
}

/// Whether the process that the file names may be the server's, and so may be sent a signal.
pub(super) fn may_be_signalled(cluster: &Path) -> bool {
    let process = pid_file(cluster).and_then(|text| process(&text));
    process.is_some_and(|process| is_alive(process) && works_in(process, cluster) != Some(false))
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

/// Whether there is such a process that this account may signal; a server's process is of this account. One that has ended, and
/// whose parent has not looked, is still there for signals.
fn is_alive(process: Pid) -> bool {
    let is_there = !matches!(kill(process, None), Err(Errno::ESRCH | Errno::EPERM));
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the name, which is in parentheses.
    let has_ended = stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']));
    is_there && !has_ended
}

/// Whether a process has this working directory, as a server has that of its cluster. `None` where the system does not tell.
fn works_in(process: Pid, folder: &Path) -> Option<bool> {
    let found = fs::read_link(format!("/proc/{process}/cwd")).ok()?;
    Some(found == folder)
}
