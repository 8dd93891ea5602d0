//! Looks after a private server for as long as somebody needs it.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::PrivateServer;

/// How often the server is looked after.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts a server again whenever it has gone, until this is dropped.
pub struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Keeper ===

impl Keeper {
    pub fn new(server: Arc<PrivateServer>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                match server.restart_if_gone() {
                    Ok(false) => {}
                    Ok(true) => tracing::warn!("the private PostgreSQL had ended, and was started again"),
                    Err(error) => tracing::error!(%error, "the private PostgreSQL has ended, and does not start"),
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.take();
        // A server that is being started is there before it is stopped.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
