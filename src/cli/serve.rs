//! `serve` and `healthcheck`.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{
    CommandError,
    args::{ServeArgs, ServerArgs},
    database::Database,
    output::say,
    signals::stop_signal,
};
use crate::{
    client::is_serving,
    service::{RunningServer, ServerConfig},
    store::StoreConfig,
    telemetry::lines::Lines,
};

/// `audit`: where each call has to reserve room for its line.
pub(super) async fn run(args: ServeArgs, audit: Option<Lines>) -> Result<(), CommandError> {
    let store = |url: &str| StoreConfig {
        short_connections: args.short_connections.into(),
        export_connections: args.export_connections.into(),
        statement_timeout: Duration::from_secs(args.statement_timeout_seconds),
        connect_timeout: Duration::from_secs(args.database_wait_seconds),
        ..args.publish.config(url)
    };
    let mut config = ServerConfig {
        listen: args.listen,
        import_store: args.import_database_url.as_ref().map(|url| store(url.expose_secret())),
        insecure_plaintext: args.tls.insecure_plaintext,
        tls: args.tls.config()?,
        statement_key: args.statement_key.read()?,
        focus: args.focus.provider(),
        reflection: !args.no_reflection,
        metrics_listen: args.metrics_listen,
        calls: args.limits.calls(),
        connections: args.limits.connections(),
        stop_delay: Duration::from_secs(args.stop_delay_seconds),
        drain_limit: Duration::from_secs(args.drain_seconds),
        audit,
        ..ServerConfig::new(store(""), args.callers.config()?)
    };
    // Errors of the command line must come before a database is started.
    config.check()?;
    let database = Database::for_server(&args.database).await?;
    config.store = store(&database.url);
    config.store.records_database_url = args.records_database_url.map(|url| url.expose_secret().to_owned());
    let server = RunningServer::bind(config).await?;
    tracing::info!("listening on {}", server.address());
    server.serve(stop_signal()?).await?;
    tracing::info!("stopped");
    Ok(())
}

pub(super) async fn healthcheck(args: &ServerArgs) -> Result<(), CommandError> {
    if is_serving(&args.config()?).await? {
        return Ok(say!("SERVING")?);
    }
    Err(format!("{} is NOT_SERVING", args.url()).into())
}
