//! Programs on a terminal.

use std::{
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use nix::pty::openpty;

/// What a terminal gets.
pub(crate) async fn on_terminal(command: Command) -> String {
    let (ok, shown) = run_on_terminal(command).await;
    assert!(ok, "{shown:?}");
    shown
}

/// Whether a command succeeds, and what a terminal gets.
pub(crate) async fn run_on_terminal(mut command: Command) -> (bool, String) {
    let terminal = openpty(None, None).unwrap();
    command.stdin(Stdio::null()).stdout(terminal.slave.try_clone().unwrap()).stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    drop(command);
    let read = move |master: OwnedFd| {
        let mut shown = Vec::new();
        // A terminal that nobody has open any more fails to be read.
        let _ = std::fs::File::from(master).read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    };
    let shown = tokio::task::spawn_blocking(move || read(terminal.master)).await.unwrap();
    // The terminal itself ends lines so.
    (child.wait().unwrap().success(), shown.replace("\r\n", "\n"))
}
