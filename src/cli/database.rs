//! Which database a command works on.

use super::{CommandError, args::DatabaseArgs};
use crate::{
    postgres::{PrivateServer, default_data_dir},
    store,
};

/// A database, and the private server that runs it, if one does.
pub(super) struct Database {
    pub(super) url: String,
    /// Kept until the command ends.
    _server: Option<PrivateServer>,
}

impl Database {
    /// The database of DATABASE_URL, or else the private one, started if need be and with its schema up to date.
    pub(super) async fn open(args: &DatabaseArgs) -> Result<Self, CommandError> {
        if let Some(url) = args.database_url.clone().filter(|url| !url.is_empty()) {
            return Ok(Self { url, _server: None });
        }
        let data_dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
        let server = tokio::task::spawn_blocking(move || PrivateServer::start_or_join(&data_dir)).await??;
        let url = server.database_url();
        // Nobody else looks after a private database's schema.
        store::migrate(&url).await?;
        Ok(Self { url, _server: Some(server) })
    }
}
