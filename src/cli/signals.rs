//! SIGTERM and SIGINT.

use std::{io, thread, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CommandError;

/// How long a command may take to end after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The exit code of a command that does not end by itself: as of one that SIGINT ends.
const INTERRUPTED: i32 = 130;

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// Completes at the first SIGTERM or SIGINT.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut signals = StopSignals::listen()?;
    Ok(async move { signals.next().await })
}

/// Ends a command cleanly at a signal: its transaction is rolled back, its temporary file is removed, and its private
/// server stops. If it does not end, because it waits for something, the program ends: soon, or at a second signal.
pub(super) async fn interruptible(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let stop = stop_signal()?;
    // A thread of its own, since the command may block this one.
    thread::spawn(insist_on_stop);
    tokio::select! {
        result = command => result,
        () = stop => Err("interrupted".into()),
    }
}

fn insist_on_stop() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(mut signals) = StopSignals::listen() else { return };
        signals.next().await;
        let _ = tokio::time::timeout(STOP_LIMIT, signals.next()).await;
        // Without a word: nobody may be reading standard error.
        std::process::exit(INTERRUPTED);
    });
}

// === impl StopSignals ===

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
