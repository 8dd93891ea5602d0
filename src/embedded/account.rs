//! The account that runs PostgreSQL, which refuses to run as root.

use std::{
    env,
    fs::File,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{Uid, User};

use super::{ServerError, io_error};

/// The account that runs the server.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Set if this program runs as root, so that another account must run the server.
    run_as: Option<User>,
}

// === impl Account ===

impl Account {
    pub(super) fn is_root() -> bool {
        Uid::effective().is_root()
    }

    /// The account of this program; instead of root, `postgres` or else `nobody`.
    pub(super) fn for_server() -> Result<Self, ServerError> {
        if !Self::is_root() {
            return Ok(Self { run_as: None });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self { run_as: Some(user) })
            .ok_or(ServerError::NoAccount)
    }

    /// A command that runs as this account, in `/`, which every account can enter. Variables that PostgreSQL reads, such as
    /// `PGPORT`, are meant for other servers; messages are not translated.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C");
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Some(user) = &self.run_as {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", "/");
        }
        command
    }

    /// Not by its name, which may lead elsewhere meanwhile.
    pub(super) fn own(&self, file: &File, path: &Path) -> Result<(), ServerError> {
        let Some(user) = &self.run_as else { return Ok(()) };
        nix::unistd::fchown(file, Some(user.uid), Some(user.gid)).map_err(|error| io_error(path, error.into()))
    }

    pub(super) fn chown(&self, folder: &Path) -> Result<(), ServerError> {
        let Some(user) = &self.run_as else { return Ok(()) };
        nix::unistd::chown(folder, Some(user.uid), Some(user.gid)).map_err(|error| io_error(folder, error.into()))
    }

    /// Checks that the account can enter a folder.
    pub(super) fn check_access(&self, folder: &Path) -> Result<(), ServerError> {
        let Some(user) = &self.run_as else { return Ok(()) };
        let reachable = self
            .command(Path::new("test"))
            .args(["-x".as_ref(), folder.as_os_str()])
            .status()
            .is_ok_and(|status| status.success());
        if reachable {
            return Ok(());
        }
        Err(ServerError::Unreachable { folder: folder.display().to_string(), account: user.name.clone() })
    }
}
