//! The database that a command works on.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::{
    CommandError,
    args::{DatabaseArgs, PublishArgs},
    output,
};
use crate::{
    embedded::{Keeper, PrivateServer, default_data_dir},
    store::{self, Store, StoreConfig},
};

/// A database, and the private server that runs it, if it is private.
pub(super) struct Database {
    pub(super) url: String,
    /// Dropped before the server.
    _keeper: Option<Keeper>,
    /// Dropped when the command ends, which may stop the server.
    server: Option<Arc<PrivateServer>>,
}

impl Database {
    /// The database of DATABASE_URL, or else the private one, which is started if necessary. Does not check the schema.
    pub(super) async fn connect(args: &DatabaseArgs) -> Result<Self, CommandError> {
        if let Some(url) = &args.database_url {
            return Ok(Self { url: url.expose_secret().to_owned(), _keeper: None, server: None });
        }
        let data_dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
        output::note(&format!("DATABASE_URL is not set: using the private PostgreSQL in {}", data_dir.display()));
        let server = tokio::task::spawn_blocking(move || PrivateServer::start_or_join(&data_dir)).await??;
        Ok(Self { url: server.database_url(), _keeper: None, server: Some(Arc::new(server)) })
    }

    /// For a server, which checks the schema by itself when the database is reachable. A private database is migrated, and
    /// started again whenever it has gone.
    pub(super) async fn for_server(args: &DatabaseArgs) -> Result<Self, CommandError> {
        let mut database = Self::connect(args).await?;
        if let Some(server) = &database.server {
            store::migrate(&database.url).await?;
            database._keeper = Some(Keeper::new(Arc::clone(server)));
        }
        Ok(database)
    }

    /// For a command that needs this program's schema. A private database is migrated; another one must have the
    /// schema.
    pub(super) async fn open(args: &DatabaseArgs) -> Result<Self, CommandError> {
        let database = Self::connect(args).await?;
        if !database.is_migrated().await? {
            store::check_schema(&Store::new(&StoreConfig::new(&database.url))?).await?;
        }
        Ok(database)
    }

    /// The same for a command that imports, with what it imports by.
    pub(super) async fn open_for_import(
        args: &DatabaseArgs,
        publish: &PublishArgs,
    ) -> Result<(Self, Store), CommandError> {
        let database = Self::connect(args).await?;
        let store = Store::new(&publish.config(&database.url))?;
        if !database.is_migrated().await? {
            store::check_schema_for_import(&store).await?;
        }
        Ok((database, store))
    }

    /// Migrates a private database.
    async fn is_migrated(&self) -> Result<bool, CommandError> {
        if self.server.is_some() {
            store::migrate(&self.url).await?;
        }
        Ok(self.server.is_some())
    }
}
