//! A server that stops when the program that started it ends, however that happens.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Stdio},
};

use super::{Account, Binaries, Cluster, ServerError, cluster::shell_quoted, io_error};

/// A server with an empty cluster in a temporary folder. It trades durability for speed.
pub struct EphemeralServer {
    cluster: Cluster,
    /// Waits for the end of its input, which closes when this program ends, and then cleans up.
    watchdog: Child,
}

// === impl EphemeralServer ===

impl EphemeralServer {
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[], &[])
    }

    /// Starts a server with these settings, and with these files in its data directory.
    pub fn start_with(settings: &[(&str, &str)], files: &[(&str, &[u8])]) -> Result<Self, ServerError> {
        Self::make(settings, |cluster| {
            cluster.create()?;
            files.iter().try_for_each(|(name, content)| cluster.put(name, content))
        })
    }

    /// Starts a standby of this server, by streaming replication.
    pub fn standby(&self) -> Result<Self, ServerError> {
        Self::make(&[], |cluster| cluster.create_standby_of(&self.cluster))
    }

    fn make(
        settings: &[(&str, &str)],
        create: impl FnOnce(&Cluster) -> Result<(), ServerError>,
    ) -> Result<Self, ServerError> {
        let binaries = Binaries::find()?;
        let account = Account::for_server()?;
        let home = home(&account)?;
        let mut cluster = Cluster::new(binaries, account, &home, false)?;
        cluster.set(settings);
        let (mut shell, stop) = cluster.stop_command();
        let script = format!("cat; {stop}; rm -rf {}", shell_quoted(&home));
        let watchdog = shell
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must not stop the watchdog.
            .process_group(0)
            .spawn()
            .map_err(|error| io_error(Path::new("/bin/sh"), error))?;
        let server = Self { cluster, watchdog };
        create(&server.cluster)?;
        server.cluster.start()?;
        Ok(server)
    }

    /// Stops the server at once, like a crash.
    pub fn crash(&self) -> Result<(), ServerError> {
        self.cluster.crash()
    }

    pub fn recover(&self) -> Result<(), ServerError> {
        self.cluster.start()
    }

    pub fn promote(&self) -> Result<(), ServerError> {
        self.cluster.promote()
    }

    /// The folder of the socket, for `host` in a connection string.
    pub fn socket_folder(&self) -> &Path {
        self.cluster.socket_folder()
    }

    /// The connection string of a database.
    pub fn database_url(&self, database: &str) -> String {
        self.cluster.database_url(database)
    }
}

impl Drop for EphemeralServer {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It ends by itself. Waiting makes sure that everything is cleaned up before this program ends.
        let _ = self.watchdog.wait();
    }
}

/// A new folder of the account, in the first temporary folder that the account can enter.
fn home(account: &Account) -> Result<std::path::PathBuf, ServerError> {
    let mut last = None;
    for parent in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
        let made = tempfile::Builder::new()
            .prefix("scr-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(|error| io_error(&parent, error));
        let result = made.and_then(|folder| {
            account.chown(folder.path())?;
            account.check_access(folder.path())?;
            Ok(folder.keep())
        });
        match result {
            Ok(folder) => return Ok(folder),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(ServerError::NoAccount))
}
