//! A server that goes away with the program that made it, however that ends.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Stdio},
};

use super::{Account, Binaries, Cluster, ServerError, cluster::shell_quoted, io_error};

/// A server with an empty cluster in a temporary folder. It trades durability for speed.
pub struct EphemeralServer {
    cluster: Cluster,
    /// Waits for the end of its input, which is this program's end, and cleans up.
    watchdog: Child,
}

// === impl EphemeralServer ===

impl EphemeralServer {
    /// Makes and starts a server.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[], &[])
    }

    /// The same with settings of PostgreSQL, and with files that are put into the data directory.
    pub fn start_with(settings: &[(&str, &str)], files: &[(&str, &[u8])]) -> Result<Self, ServerError> {
        Self::make(settings, |cluster| {
            cluster.create()?;
            files.iter().try_for_each(|(name, content)| cluster.put(name, content))
        })
    }

    /// A standby of this server: it follows by streaming replication, and answers what only reads.
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
            // A Ctrl-C at the terminal is not for the watchdog.
            .process_group(0)
            .spawn()
            .map_err(|error| io_error(Path::new("/bin/sh"), error))?;
        let server = Self { cluster, watchdog };
        create(&server.cluster)?;
        server.cluster.start()?;
        Ok(server)
    }

    /// Stops it as a crash would, with whatever is going on.
    pub fn crash(&self) -> Result<(), ServerError> {
        self.cluster.stop("immediate")
    }

    /// Starts it again after a crash.
    pub fn recover(&self) -> Result<(), ServerError> {
        self.cluster.start()
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) -> Result<(), ServerError> {
        self.cluster.promote()
    }

    /// Where its socket is: `host` in a connection string.
    pub fn socket_folder(&self) -> &Path {
        self.cluster.socket_folder()
    }

    /// How to connect to a database of the server.
    pub fn database_url(&self, database: &str) -> String {
        self.cluster.database_url(database)
    }
}

impl Drop for EphemeralServer {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It ends by itself; waiting only makes sure that all is gone when this program is.
        let _ = self.watchdog.wait();
    }
}

/// A new folder of the account, in the first place for temporary files that the account can reach.
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
