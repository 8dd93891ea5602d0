//! Files that may be replaced while the program runs: certificates, keys, lists of who may do what.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::task::JoinHandle;

/// The default interval of checks for changes.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// A value that is built from files, and built again when they change. If that fails, it is logged, and the old value
/// stays in
/// use: two files that are replaced one after the other take effect when both are replaced.
pub struct Reloaded<T> {
    current: Arc<RwLock<Arc<T>>>,
    watcher: JoinHandle<()>,
}

type Build<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send>;

// === impl Reloaded ===

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files, and then checks them for changes every `interval`. `what` names them in errors and in the log, by
    /// their options. `build` gets their bytes in the order of the paths.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or `build` refuses its content.
    pub fn start(
        what: &'static str,
        files: Vec<PathBuf>,
        interval: Duration,
        build: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + 'static,
    ) -> Result<Self, String> {
        let build: Build<T> = Box::new(build);
        let named = |error: String| format!("{what}: {error}");
        let contents = read(&files).map_err(named)?;
        let current = Arc::new(RwLock::new(Arc::new(build(&contents).map_err(named)?)));
        let watcher = tokio::spawn(watch(what, files, contents, interval, build, Arc::clone(&current)));
        Ok(Self { current, watcher })
    }

    /// The current value.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Drop for Reloaded<T> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let one = |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    files.iter().map(one).collect()
}

async fn watch<T>(
    what: &'static str,
    files: Vec<PathBuf>,
    mut seen: Vec<Vec<u8>>,
    interval: Duration,
    build: Build<T>,
    current: Arc<RwLock<Arc<T>>>,
) {
    let mut unreadable = false;
    loop {
        tokio::time::sleep(interval).await;
        // Small files, read a few times a minute.
        let contents = match read(&files) {
            Ok(contents) => contents,
            Err(error) => {
                if !std::mem::replace(&mut unreadable, true) {
                    tracing::warn!(error, "{what}: cannot be read again; the previous content stays in use");
                }
                continue;
            }
        };
        unreadable = false;
        if contents == seen {
            continue;
        }
        match build(&contents) {
            Ok(value) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!("{what}: read again");
            }
            Err(error) => tracing::warn!(error, "{what}: the change is invalid; the previous content stays in use"),
        }
        seen = contents;
    }
}
