//! Which database a command works on.

use secrecy::ExposeSecret as _;

use super::{CommandError, args::DatabaseArgs};
use crate::{
    embedded::{PrivateServer, default_data_dir},
    store::{self, Store, StoreConfig},
};

/// A database, and the private server that runs it, if one does.
pub(super) struct Database {
    pub(super) url: String,
    /// Kept until the command ends.
    server: Option<PrivateServer>,
}

impl Database {
    /// The database of DATABASE_URL, or else the private one, started if need be. Its schema is as it is.
    pub(super) async fn connect(args: &DatabaseArgs) -> Result<Self, CommandError> {
        if let Some(url) = &args.database_url {
            return Ok(Self { url: url.expose_secret().to_owned(), server: None });
        }
        let data_dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
        eprintln!("DATABASE_URL is not set: using the private PostgreSQL in {}", data_dir.display());
        let server = tokio::task::spawn_blocking(move || PrivateServer::start_or_join(&data_dir)).await??;
        Ok(Self { url: server.database_url(), server: Some(server) })
    }

    /// For a server, which looks at the schema by itself, whenever the database is there: a private database gets it.
    pub(super) async fn for_server(args: &DatabaseArgs) -> Result<Self, CommandError> {
        let database = Self::connect(args).await?;
        if database.server.is_some() {
            store::migrate(&database.url).await?;
        }
        Ok(database)
    }

    /// The same, with the schema that this program works on: a private database gets it, another one must have it.
    pub(super) async fn open(args: &DatabaseArgs) -> Result<Self, CommandError> {
        let database = Self::connect(args).await?;
        if database.server.is_some() {
            store::migrate(&database.url).await?;
        } else {
            store::check_schema(&Store::new(&StoreConfig::new(&database.url))?).await?;
        }
        Ok(database)
    }
}
